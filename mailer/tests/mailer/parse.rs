//! Reading mails with somebody else's parser: Python's `email` package.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

const SCRIPT: &str = r#"
import base64, email, email.policy, json, sys
message = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
def part(p):
    body = None if p.is_multipart() else base64.b64encode(p.get_payload(decode=True)).decode()
    return {"type": p.get_content_type(), "id": p["Content-ID"], "disposition": p.get_content_disposition(), "body": body,
            "text": p.get_content() if p.get_content_maintype() == "text" else None,
            "parts": [part(q) for q in p.iter_parts()] if p.is_multipart() else []}
defects = [type(d).__name__ for p in message.walk() for d in p.defects]
print(json.dumps({"headers": [[k, str(v)] for k, v in message.items()], "defects": defects, "root": part(message)}))
"#;

/// A mail as Python reads it.
pub struct Mail(Value);

pub fn parse(message: &[u8]) -> Mail {
    let spawned = Command::new("python3").args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut python = spawned.expect("python3 reads the mails of this test; install it: deploy/dev/install.sh");
    python.stdin.take().unwrap().write_all(message).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "python3 could not read the mail");
    Mail(serde_json::from_slice(&output.stdout).unwrap())
}

impl Mail {
    /// The values of a header.
    pub fn header(&self, name: &str) -> Vec<String> {
        let pairs = self.0["headers"].as_array().unwrap().iter();
        let matching = pairs.filter(|pair| pair[0].as_str().unwrap().eq_ignore_ascii_case(name));
        matching.map(|pair| pair[1].as_str().unwrap().to_owned()).collect()
    }

    pub fn defects(&self) -> usize {
        self.0["defects"].as_array().unwrap().len()
    }

    /// The tree of content types, such as `multipart/alternative(text/plain text/html)`.
    pub fn shape(&self) -> String {
        shape(&self.0["root"])
    }

    pub fn text(&self) -> String {
        lines(self.find("text/plain"))
    }

    pub fn html(&self) -> String {
        lines(self.find("text/html"))
    }

    pub fn image_id(&self) -> String {
        self.find("image/png")["id"].as_str().unwrap().to_owned()
    }

    /// The image in base64.
    pub fn image(&self) -> String {
        self.find("image/png")["body"].as_str().unwrap().to_owned()
    }

    fn find(&self, kind: &str) -> &Value {
        find(&self.0["root"], kind).unwrap()
    }
}

/// The text of a part; how lines end is a matter of the way it came.
fn lines(part: &Value) -> String {
    part["text"].as_str().unwrap().replace("\r\n", "\n")
}

fn shape(part: &Value) -> String {
    let inner: Vec<String> = part["parts"].as_array().unwrap().iter().map(shape).collect();
    let kind = part["type"].as_str().unwrap();
    if inner.is_empty() { kind.to_owned() } else { format!("{kind}({})", inner.join(" ")) }
}

fn find<'a>(part: &'a Value, kind: &str) -> Option<&'a Value> {
    if part["type"] == kind {
        return Some(part);
    }
    part["parts"].as_array().unwrap().iter().find_map(|inner| find(inner, kind))
}

/// The files of a kind in a folder, by name.
pub fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|found| found == extension));
    files.sort();
    files
}
