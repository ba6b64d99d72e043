//! Stands in for the product's binary inside containers: every role serves its
//! health check, and proves by a file in `/data` what it can reach. Compiled by
//! the tests, static, with nothing but the standard library.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::time::Duration;
use std::{env, fs, thread};

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("healthcheck") => healthcheck(&args[1]),
        Some(role @ ("ingest" | "admin" | "mailer")) => serve(role, &args),
        _ => ExitCode::from(64),
    }
}

fn flag(args: &[String], name: &str) -> Option<String> {
    args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1)).cloned()
}

fn healthcheck(address: &str) -> ExitCode {
    let answer = TcpStream::connect(address).and_then(|mut stream| {
        stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    });
    if answer.is_ok_and(|answer| answer.starts_with("HTTP/1.0 200")) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn serve(role: &str, args: &[String]) -> ExitCode {
    if env::var("HELIOGRAPH__ADMIN__PUBLIC_URL").is_ok_and(|url| url.contains("broken")) {
        eprintln!("admin.public_url: this panel is broken");
        return ExitCode::FAILURE;
    }
    let report = format!(
        "data {}\nroot {}\ntmp {}\nsecret {}\n",
        outcome(fs::write(format!("/data/{role}.probe"), "x")),
        outcome(fs::write("/probe", "x")),
        outcome(fs::write("/tmp/probe", "x")),
        env::var("HELIOGRAPH__MAIL__PASSWORD_FILE").map_or("none".to_owned(), |path| outcome(fs::read(path))),
    );
    println!("{report}");
    if let Some(listen) = flag(args, "--listen") {
        let listener = TcpListener::bind(listen).expect("bind --listen");
        thread::spawn(move || answer_all(&listener, &report));
    }
    let ops = TcpListener::bind(flag(args, "--ops").expect("--ops")).expect("bind --ops");
    answer_all(&ops, "ok\n");
    ExitCode::SUCCESS
}

fn outcome<T>(result: std::io::Result<T>) -> String {
    result.map_or_else(|error| format!("refused: {error}"), |_| "ok".to_owned())
}

fn answer_all(listener: &TcpListener, body: &str) {
    for stream in listener.incoming().flatten() {
        let mut stream = stream;
        let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
        let _ = stream.read(&mut [0; 1024]);
        let _ = write!(stream, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    }
}
