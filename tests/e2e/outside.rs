//! Documents that name something outside of them, by a DOCTYPE, an entity or an XInclude:
//! nothing of it is ever touched.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::io::Errno;

use crate::binary::{connect, free_address, run};
use crate::crash::commission;
use crate::ingest::Ingest;
use crate::load::KEY;

/// `O_NONBLOCK` on Linux: a pipe that nobody reads cannot be opened for writing with it.
const WITHOUT_WAITING: i32 = 0o4000;

/// What a document may name: a file that whoever opens it would wait for, and a server that
/// sees whoever asks.
struct Outside {
    pipe: String,
    server: TcpListener,
}

impl Outside {
    fn new(folder: &Path) -> Self {
        let pipe = folder.join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        server.set_nonblocking(true).unwrap();
        Self { pipe: format!("file://{}", pipe.display()), server }
    }

    /// Both of them, as documents name them.
    fn names(&self) -> [String; 2] {
        [self.pipe.clone(), format!("http://{}/outside.xml", self.server.local_addr().unwrap())]
    }

    fn check_untouched(&self) {
        assert_eq!(self.server.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "somebody has asked the server");
        let pipe = self.pipe.strip_prefix("file://").unwrap();
        let opened = OpenOptions::new().write(true).custom_flags(WITHOUT_WAITING).open(pipe);
        assert_eq!(opened.unwrap_err().raw_os_error(), Some(Errno::NXIO.raw_os_error()), "somebody reads the pipe");
    }
}

/// Documents that name something, each with how its answer begins.
fn documents(name: &str) -> [(String, &'static str); 6] {
    let include = format!("<xi:include xmlns:xi=\"http://www.w3.org/2001/XInclude\" href=\"{name}\"/>");
    let text = include.replace("href", "parse=\"text\" href");
    let reading = "<reading metric=\"m\">1</reading>";
    let push = |doctype: &str, content: &str| {
        format!("{doctype}<push gateway=\"gw-0\" key=\"{KEY}\"><sensor id=\"s\">{content}{reading}</sensor></push>")
    };
    let chain = format!(
        "<!DOCTYPE group PUBLIC \"-//ESL/DTD eGauge 1.0//EN\" \"{name}\"><group serial=\"gw-0\"><data columns=\"1\" \
         time_stamp=\"0x6b003640\" time_delta=\"60\"><cname t=\"P\">use</cname><r><c>1</c></r></data></group>"
    );
    [
        (push("", &include), "<ack readings=\"1\"/>"),
        (push("", &text), "<ack readings=\"1\"/>"),
        (push(&format!("<!DOCTYPE push SYSTEM \"{name}\">"), ""), "<ack readings=\"1\"/>"),
        (push(&format!("<!DOCTYPE push [<!ENTITY e SYSTEM \"{name}\">]>"), "&e;"), "<nack code=\"doctype\""),
        (push(&format!("<?xml-stylesheet href=\"{name}\"?>"), ""), "<ack readings=\"1\"/>"),
        (format!("<hello gateway=\"gw-0\" key=\"{KEY}\"/>{chain}"), "<ack readings=\"0\"/>\n<ack readings=\"1\"/>"),
    ]
}

#[tokio::test]
async fn what_a_document_names_outside_of_it_is_never_touched() {
    let folder = tempfile::tempdir().unwrap();
    commission(folder.path(), "sunrise", 1).await;
    let outside = Outside::new(folder.path());
    let ingest = Ingest::start("sunrise", free_address(), &["--store", "sqlite:."], &[], folder.path());
    for (document, answer) in outside.names().iter().flat_map(|name| documents(name)) {
        let mut gateway = connect(ingest.address, Duration::from_secs(60));
        gateway.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        gateway.write_all(document.as_bytes()).unwrap();
        gateway.shutdown(Shutdown::Write).unwrap();
        let mut said = String::new();
        gateway.read_to_string(&mut said).unwrap();
        assert!(said.starts_with(answer), "{said} to {document}");
        outside.check_untouched();

        // Nor does whoever looks what it yields.
        std::fs::write(folder.path().join("document.xml"), &document).unwrap();
        let decoded = run(&["decode", "document.xml"], folder.path());
        assert_eq!(decoded.status.success(), !answer.contains("nack"), "{decoded:?}");
        outside.check_untouched();
    }
    // What was refused is tried again as it is.
    let retried =
        run(&["quarantine", "retry", "--provider", "sunrise", "--store", "sqlite:.", "--all", "--dry-run"], folder.path());
    assert!(!String::from_utf8_lossy(&retried.stderr).contains("error:"), "{retried:?}");
    outside.check_untouched();
    ingest.terminate();
}
