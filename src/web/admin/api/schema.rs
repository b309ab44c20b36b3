//! What goes in and out, as JSON Schema (2020-12, the dialect of OpenAPI 3.1).

use serde_json::{Map, Value, json};

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

fn of(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn of_or_null(name: &str) -> Value {
    json!({ "anyOf": [{ "type": "null" }, of(name)] })
}

fn number() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

fn secret() -> Value {
    json!({ "type": "string", "format": "password", "maxLength": 256 })
}

/// By their names.
pub(super) fn all() -> Map<String, Value> {
    let parts = [household(), backups(), reporting(), writing()];
    parts.into_iter().filter_map(|part| part.as_object().cloned()).flatten().collect()
}

fn household() -> Value {
    json!({
        "Document": { "type": "object" },
        "ProblemDocument": object(json!({
            "type": text(), "title": text(), "status": number(), "detail": text(),
        }), &[]),
        "Problem": object(json!({
            "subject": or_null("string"),
            "about": { "enum": ["certificate", "records", "disk", "clock", "queue", "sending", "keys", "ports", "backup", "box"] },
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
            "stopped": time_or_null(),
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
        "Relay": object(json!({
            "name": text(), "domains": texts_or_null(), "host": text(), "port": number(), "tls": { "enum": ["implicit", "starttls"] },
            "user": text(), "password": { "type": "boolean" }, "spf": text(),
        }), &[]),
        "NewRelay": object(json!({
            "domains": texts(),
            "host": { "type": "string", "maxLength": 253 },
            "port": { "type": ["integer", "null"], "minimum": 1, "maximum": 65535 },
            "tls": { "enum": ["implicit", "starttls", null] },
            "user": { "type": ["string", "null"], "maxLength": 254 },
            "password": { "type": ["string", "null"], "format": "password", "maxLength": 512 },
            "spf": { "type": ["string", "null"], "maxLength": 255 },
        }), &["domains", "port", "tls", "user", "password", "spf"]),
        "Updates": object(json!({
            "version": text(),
            "on_trial": { "type": "boolean" },
            "now": { "anyOf": [{ "type": "null" }, object(json!({ "words": text(), "percent": number() }), &[])] },
            "ready": or_null("string"),
            "last": { "anyOf": [{ "type": "null" }, object(json!({ "failed": { "type": "boolean" }, "words": text() }), &[])] },
            "url": or_null("string"),
            "by_itself": { "type": "boolean" },
            "looked": time_or_null(),
            "offers": { "type": "array", "items": object(json!({
                "version": text(), "source": { "enum": ["url", "stick"] }, "bytes": number(),
            }), &[]) },
            "problem": or_null("string"),
        }), &[]),
        "Install": object(json!({ "version": { "type": "string", "maxLength": 32 } }), &[]),
        "Device": object(json!({
            "id": number(), "name": text(), "created": time(), "used": time_or_null(), "waits-until": time_or_null(),
        }), &[]),
        "NewDevice": object(json!({ "name": { "type": "string", "maxLength": 64 } }), &[]),
        "AddedDevice": object(json!({ "name": text(), "password": secret() }), &[]),
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

/// Backups to the stick.
fn backups() -> Value {
    json!({
        "Backups": object(json!({
            "by_itself": { "type": "boolean" },
            "sheet": { "type": "boolean" },
            "stick": or_null("string"),
            "unused": or_null("string"),
            "can_be_prepared": { "type": "boolean" },
            "folder": or_null("string"),
            "running": { "anyOf": [{ "type": "null" }, object(json!({
                "step": { "enum": ["writing", "reading"] },
                "since": time(),
                "last_seconds": or_null("integer"),
            }), &[])] },
            "made": time_or_null(),
            "messages": number(),
            "verified": time_or_null(),
            "state": { "enum": ["nothing", "fine", "warning", "wrong"] },
            "words": or_null("string"),
            "next": or_null("string"),
            "kept": { "type": "array", "items": object(json!({
                "number": number(),
                "time": time(),
                "everything": { "type": "boolean" },
                "letters": number(),
            }), &[]) },
        }), &[]),
    })
}

/// What other servers report.
fn reporting() -> Value {
    json!({
        "Reports": object(json!({
            "reports": { "type": "array", "items": of("Report") },
            "advice": texts(),
        }), &[]),
        "Report": object(json!({
            "id": text(),
            "kind": { "enum": ["dmarc", "tls", "failure", "abuse", "unread"] },
            "received": time(),
            "sender": text(),
            "proven": { "type": "boolean" },
            "reporter": text(),
            "domain": text(),
            "begin": time_or_null(),
            "end": time_or_null(),
            "count": number(),
            "good": number(),
            "state": { "enum": ["good", "look", "unread"] },
            "words": texts(),
            "rows": { "type": "array", "items": object(json!({
                "source": or_null("string"),
                "letters": number(),
                "done": { "enum": ["taken", "quarantined", "refused"] },
                "dkim": { "type": "boolean" },
                "spf": { "type": "boolean" },
            }), &[]) },
        }), &[]),
    })
}

/// Records that are written by themselves.
fn writing() -> Value {
    json!({
        "Method": object(json!({
            "method": text(), "server": text(), "key-name": text(), "algorithm": text(), "zone": text(), "ask": text(),
            "secret": { "type": "boolean" }, "ready": { "type": "boolean" },
        }), &[]),
        "NewMethod": object(json!({
            "method": text(),
            "server": or_null("string"), "key-name": or_null("string"), "algorithm": or_null("string"),
            "zone": or_null("string"), "ask": or_null("string"),
            "secrets": { "type": "array", "items": { "type": "string", "format": "password" } },
        }), &["server", "key-name", "algorithm", "zone", "ask", "secrets"]),
        "Plan": object(json!({ "undo": { "type": "boolean" }, "take-over": texts() }), &["undo", "take-over"]),
        "Push": object(json!({ "take-over": texts() }), &["take-over"]),
        "Writing": object(json!({
            "method": of("Method"), "undoable": { "type": "boolean" }, "work": of_or_null("Work"),
        }), &[]),
        "Work": object(json!({
            "id": number(),
            "wish": object(json!({
                "write": { "type": "boolean" }, "undo": { "type": "boolean" }, "take-over": texts(), "seen": number(),
            }), &["seen"]),
            "begun": time(),
            "ended": time_or_null(),
            "difference": of_or_null("Difference"),
            "failed": or_null("string"),
        }), &[]),
        "Difference": object(json!({
            "domain": text(),
            "zone": text(),
            "method": text(),
            "servers": texts(),
            "written": { "type": "boolean" },
            "to-write": number(),
            "done": number(),
            "conflicts": number(),
            "lines": { "type": "array", "items": of("DnsLine") },
            "faults": texts(),
            "unseen": { "type": "array", "items": object(json!({ "name": text(), "type": text() }), &[]) },
        }), &[]),
        "DnsValue": object(json!({
            "type": text(), "priority": or_null("integer"), "value": text(), "ttl": number(), "ours": { "type": "boolean" },
        }), &[]),
        "DnsLine": object(json!({
            "name": text(),
            "type": text(),
            "action": { "enum": ["keep", "add", "change", "remove", "conflict"] },
            "new": of_or_null("DnsValue"),
            "old": { "type": "array", "items": of("DnsValue") },
            "words": text(),
            "take-over": or_null("string"),
            "done": or_null("boolean"),
            "fault": or_null("string"),
        }), &[]),
    })
}
