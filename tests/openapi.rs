//! The OpenAPI document and the code tell the same: every route is in it, and every answer is as it says, field by field.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what went wrong by panicking"
)]

#[path = "door/api.rs"]
#[expect(dead_code, reason = "it is shared, and not every test uses all of it")]
mod api;

use std::collections::BTreeSet;
use std::path::Path;

use api::{Answer, Api, converse};
use serde_json::Value;

const METHODS: [&str; 4] = ["get", "post", "put", "delete"];

fn document(api: &Api) -> Value {
    api.ask("GET /v1/openapi.json").json()
}

/// The path with its parameters filled in: what the hand-made fleet has, or what it has not.
fn filled(path: &str) -> String {
    let id = if path.ends_with("/kill") { "1-0-1" } else { "7" };
    path.replace("{name}", "a%20b%25.ini").replace("{id}", id).replace("{pid}", "1")
}

fn ask(api: &Api, method: &str, path: &str, body: &str) -> Answer {
    let method = method.to_ascii_uppercase();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{body}"
    );
    converse(api.unix(), request.as_bytes())
}

/// A body that the document allows.
fn body(document: &Value, operation: &Value) -> String {
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    match resolved(document, schema)["properties"].as_object() {
        None => String::new(),
        Some(properties) if properties.contains_key("workers") => "{\"workers\": 2}".into(),
        Some(properties) if properties.contains_key("level") => "{\"level\": \"info\"}".into(),
        Some(properties) if properties.contains_key("name") => {
            "{\"name\": \"a b%.ini\", \"text\": \"[uwsgi]\\nprocesses = x\\n\"}".into()
        }
        Some(_) => "{\"text\": \"[uwsgi]\\nhttp-socket = :0\\n\"}".into(),
    }
}

fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let Some(reference) = schema["$ref"].as_str() else { return schema };
    document.pointer(reference.strip_prefix('#').unwrap()).unwrap_or_else(|| panic!("{reference}"))
}

/// Holds a value to its schema; a field that the schema does not know is a mistake, too.
fn hold(document: &Value, schema: &Value, value: &Value, place: &str) {
    let schema = resolved(document, schema);
    if let Some(choices) = schema["anyOf"].as_array() {
        let choice = if value.is_null() { "null" } else { "" };
        let chosen = choices.iter().find(|one| (one["type"] == "null") == (choice == "null"));
        return hold(document, chosen.unwrap_or_else(|| panic!("{place}: {value}")), value, place);
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let allowed = schema["type"].as_array().cloned().unwrap_or_else(|| vec![schema["type"].clone()]);
    let fits = |word: &Value| *word == kind || (*word == "number" && kind == "integer");
    assert!(allowed.iter().any(fits), "{place}: {value} is not {allowed:?}");
    if let Some(words) = schema["enum"].as_array() {
        assert!(words.contains(value), "{place}: {value} is not in {words:?}");
    }
    if let Some(items) = value.as_array() {
        for (n, item) in items.iter().enumerate() {
            hold(document, &schema["items"], item, &format!("{place}[{n}]"));
        }
    }
    if let Some(fields) = value.as_object().filter(|_| schema["properties"].is_object()) {
        for (name, field) in fields {
            let known = &schema["properties"][name];
            assert!(!known.is_null(), "{place}: {name} is not documented");
            hold(document, known, field, &format!("{place}.{name}"));
        }
        for name in schema["required"].as_array().into_iter().flatten() {
            assert!(fields.contains_key(name.as_str().unwrap()), "{place}: {name} is missing");
        }
    }
}

#[test]
fn every_answer_is_as_documented() {
    let api = Api::start();
    let document = document(&api);
    let mut seen = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in METHODS {
            let operation = &item[method];
            if operation.is_null() {
                let answer = ask(&api, method, &filled(path), "");
                assert_eq!(answer.status, 405, "{method} {path} is served and not documented");
                continue;
            }
            let answer = ask(&api, method, &filled(path), &body(&document, operation));
            assert_ne!(answer.status, 405, "{method} {path} is documented and not served");
            let range = format!("{}XX", answer.status / 100);
            let responses = &operation["responses"];
            let keys = [answer.status.to_string(), range];
            let response = keys.iter().map(|key| &responses[key]).find(|response| !response.is_null());
            let response = response.unwrap_or_else(|| panic!("{method} {path}: {answer:?}"));
            let content = &resolved(&document, response)["content"];
            let kind = answer.head.lines().find_map(|line| line.strip_prefix("content-type: ")).unwrap();
            let schema = &content[kind.split(';').next().unwrap()]["schema"];
            assert!(!schema.is_null(), "{method} {path}: {kind} is not documented");
            assert!(answer.status < 400 || answer.code() != "not-found", "{method} {path}: {answer:?}");
            if kind.contains("json") {
                hold(&document, schema, &answer.json(), path);
            }
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen}");
}

#[test]
fn every_route_is_documented() {
    let api = Api::start();
    let document = document(&api);
    let documented: BTreeSet<&str> =
        document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    let source = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/api/routes.rs")).unwrap();
    let routes: BTreeSet<&str> =
        source.split(".route(").skip(1).filter_map(|rest| rest.split('"').nth(1)).collect();
    let routes: BTreeSet<&str> = routes.into_iter().filter(|route| *route != "/").collect();
    assert_eq!(routes, documented);
}

#[test]
fn every_word_is_documented() {
    let document = document(&Api::start());
    let mut source = String::new();
    read_all(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut source);
    let mut seen = 0;
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        let Some(words) = schema["enum"].as_array() else { continue };
        // Two may have the same name.
        let head = format!("pub enum {name} {{\n");
        let enums = source.split(&head).skip(1);
        let mut known = enums.map(|rest| {
            let variants = rest.split("\n}").next().unwrap().lines();
            variants
                .filter_map(|line| line.trim().strip_suffix(','))
                .map(|variant| kebab(variant).into())
                .collect()
        });
        assert!(known.any(|variants: Vec<Value>| variants == *words), "{name}: {words:?}");
        seen += 1;
    }
    assert!(seen > 6, "{seen}");
}

fn read_all(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all(&path, text);
        } else {
            text.push_str(&std::fs::read_to_string(path).unwrap_or_default());
        }
    }
}

/// As serde writes it.
fn kebab(variant: &str) -> String {
    let dashed = variant
        .char_indices()
        .flat_map(|(n, c)| (n > 0 && c.is_uppercase()).then_some('-').into_iter().chain([c]));
    dashed.collect::<String>().to_lowercase()
}

#[test]
fn every_state_is_counted() {
    let api = Api::start();
    let metrics = api.ask("GET /metrics").body;
    for state in document(&api)["components"]["schemas"]["State"]["enum"].as_array().unwrap() {
        assert!(metrics.contains(&format!("liege_vassals{{state={state}}} ")), "{state}");
    }
}

#[test]
fn the_page_names_every_request() {
    let document = document(&Api::start());
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/api.md")).unwrap();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in METHODS.into_iter().filter(|method| !item[method].is_null()) {
            let request = format!("`{} {path}`", method.to_ascii_uppercase());
            assert!(page.contains(&request), "docs/api.md does not have {request}");
        }
    }
    let named = ["`GET /", "`POST /", "`PUT /"].into_iter().flat_map(|method| page.split(method).skip(1));
    for path in named.filter_map(|rest| Some(format!("/{}", rest.split_once('`')?.0))) {
        assert!(!document["paths"][&path].is_null(), "docs/api.md has {path}, and nobody serves it");
    }
}

#[test]
fn a_stream_is_what_the_document_says_of_its_items() {
    let api = Api::start();
    let document = document(&api);
    let list = api.ask("GET /v1/vassals/a%20b%25.ini/logs").json();
    hold(&document, &document["components"]["schemas"]["LogPage"], &list, "logs");
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(api.ask("GET /v1").json()["links"][0], "/v1/openapi.json");
}
