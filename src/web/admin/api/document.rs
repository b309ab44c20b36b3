//! The OpenAPI 3.1 document, from the table.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::schema;
use super::table::{Access, Answers, OPERATIONS, Operation};

pub(super) fn document() -> Value {
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for operation in OPERATIONS {
        let here = paths.entry(operation.path).or_default();
        here.insert(operation.method.to_ascii_lowercase(), described(operation));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "homepost",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What an administrator of this box can do on its pages, for programs. A token is made on the \
                            page \"Programs\".",
            "license": { "name": "AGPL-3.0-only", "identifier": "AGPL-3.0-only" },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": schema::all(),
            "responses": { "problem": {
                "description": "Why not (RFC 9457).",
                "content": { "application/problem+json": { "schema": of("ProblemDocument") } },
            } },
        },
    })
}

fn of(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn described(operation: &Operation) -> Value {
    let mut answer = json!({ "description": operation.summary });
    if let Some(schema) = operation.answer {
        let schema = match schema {
            Answers::One(name) => of(name),
            Answers::Many(name) => json!({ "type": "array", "items": of(name) }),
        };
        answer["content"] = json!({ "application/json": { "schema": schema } });
    }
    let problem = json!({ "$ref": "#/components/responses/problem" });
    let mut responses = Map::new();
    responses.insert(operation.status.as_u16().to_string(), answer);
    responses.insert("default".to_owned(), problem);
    let mut out = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "responses": responses,
    });
    match operation.access {
        Access::Anybody => out["security"] = json!([]),
        Access::Read => out["x-scope"] = json!("read"),
        Access::All => out["x-scope"] = json!("all"),
    }
    let parameters: Vec<Value> = (operation.names().into_iter())
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    if !parameters.is_empty() {
        out["parameters"] = json!(parameters);
    }
    if let Some(body) = operation.body {
        out["requestBody"] = json!({ "required": true, "content": { "application/json": { "schema": of(body) } } });
    }
    out
}
