//! What goes in and out, as JSON Schema (2020-12, the dialect of OpenAPI 3.1).

use serde_json::{Value, json};

fn object(properties: Value, optional: &[&str]) -> Value {
    let names = properties.as_object().map(|all| all.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
    let required: Vec<String> = names.into_iter().filter(|name| !optional.contains(&name.as_str())).collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn or_null(kind: &str) -> Value {
    json!({ "type": [kind, "null"] })
}

fn time() -> Value {
    json!({ "type": "string", "format": "date-time" })
}

fn time_or_null() -> Value {
    json!({ "type": ["string", "null"], "format": "date-time" })
}

fn texts() -> Value {
    json!({ "type": "array", "items": { "type": "string" } })
}

fn texts_or_null() -> Value {
    json!({ "type": ["array", "null"], "items": { "type": "string" } })
}

fn number() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

fn secret() -> Value {
    json!({ "type": "string", "format": "password", "maxLength": 256 })
}

pub(super) fn all() -> Value {
    json!({
        "Document": { "type": "object" },
        "ProblemDocument": object(json!({
            "type": text(), "title": text(), "status": number(), "detail": text(),
        }), &[]),
        "Problem": object(json!({
            "subject": or_null("string"),
            "about": { "enum": ["certificate", "records", "disk", "clock", "queue", "ports", "box"] },
            "state": { "enum": ["bad", "needs-you", "waiting"] },
            "words": text(),
            "next": text(),
        }), &[]),
        "Person": object(json!({
            "id": number(),
            "address": text(),
            "name": or_null("string"),
            "quota": or_null("integer"),
            "administrator": { "type": "boolean" },
            "disabled": { "type": "boolean" },
            "created": { "type": "integer" },
            "messages": number(),
            "bytes": number(),
            "has-password": { "type": "boolean" },
            "leaves": time_or_null(),
            "invited-until": time_or_null(),
        }), &[]),
        "NewPerson": object(json!({
            "address": { "type": "string", "maxLength": 320 },
            "name": { "type": ["string", "null"], "maxLength": 256 },
            "quota": { "type": ["integer", "null"], "minimum": 0 },
            "phrase": { "type": ["string", "null"], "format": "password", "maxLength": 256 },
        }), &["name", "quota", "phrase"]),
        "Added": object(json!({ "address": text(), "until": time_or_null(), "link": or_null("string") }), &[]),
        "Link": object(json!({ "address": text(), "until": time(), "link": { "type": "string", "format": "uri" } }), &[]),
        "Phrase": object(json!({ "phrase": secret() }), &[]),
        "Quota": object(json!({ "quota": { "type": ["integer", "null"], "minimum": 0 } }), &[]),
        "Role": object(json!({ "administrator": { "type": "boolean" } }), &[]),
        "Alias": object(json!({ "alias": text(), "targets": texts() }), &[]),
        "Domain": object(json!({ "domain": text() }), &[]),
        "Record": object(json!({
            "name": text(),
            "relative": or_null("string"),
            "type": text(),
            "priority": or_null("integer"),
            "value": or_null("string"),
            "parts": texts_or_null(),
            "ttl": number(),
            "purpose": text(),
            "publish": { "type": "boolean" },
            "reason": or_null("string"),
        }), &[]),
        "Checked": object(json!({
            "domain": text(),
            "zone": text(),
            "servers": texts(),
            "records": { "type": "array", "items": object(json!({
                "name": text(),
                "type": text(),
                "value": or_null("string"),
                "state": text(),
                "words": text(),
                "found": texts(),
                "wait": or_null("integer"),
            }), &[]) },
            "advice": texts(),
        }), &[]),
        "Port": object(json!({
            "name": text(),
            "port": { "type": "integer", "minimum": 1, "maximum": 65535 },
            "on": { "type": "boolean" },
        }), &[]),
        "Switch": object(json!({ "on": { "type": "boolean" }, "sure": { "type": "boolean" } }), &["sure"]),
        "Certificate": object(json!({
            "group": text(),
            "names": texts(),
            "source": { "enum": ["own", "imported", "authority", null] },
            "issuer": or_null("string"),
            "until": time_or_null(),
            "next": time_or_null(),
            "covers": texts_or_null(),
            "problem": { "anyOf": [{ "type": "null" }, object(json!({
                "name": text(), "words": text(), "until": time_or_null(),
            }), &[])] },
        }), &[]),
        "Renewal": object(json!({ "name": or_null("string") }), &["name"]),
        "Asked": object(json!({ "asked": { "const": true } }), &[]),
        "Letter": object(json!({
            "id": number(),
            "from": or_null("string"),
            "size": number(),
            "queued": text(),
            "recipients": { "type": "array", "items": object(json!({
                "address": text(),
                "state": text(),
                "due": text(),
                "attempts": number(),
                "last": or_null("string"),
            }), &[]) },
        }), &[]),
        "Token": object(json!({
            "id": number(),
            "name": text(),
            "account": text(),
            "scope": { "enum": ["read", "all"] },
            "created": time(),
            "until": time(),
        }), &[]),
    })
}
