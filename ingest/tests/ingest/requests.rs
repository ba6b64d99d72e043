//! Requests in every form that HTTP/1 gives them, and in some that it does not.

use tokio::io::AsyncWriteExt;

use crate::http::{basic, send};
use crate::server::{KEY, Server, push};

/// Sends bytes on a connection of their own, closes it for sending, and reads all that
/// comes.
async fn exchange(server: &Server, bytes: &str) -> String {
    let mut gateway = server.connect().await;
    gateway.send(bytes).await;
    gateway.stream.shutdown().await.unwrap();
    gateway.rest().await
}

#[tokio::test]
async fn any_method_is_known_by_its_line_however_it_is_cut() {
    let server = Server::start().await;
    for request in ["PROPFIND / HTTP/1.1\r\nHost: a\r\n\r\n", "M-SEARCH * HTTP/1.0\r\n\r\n"] {
        assert!(exchange(&server, request).await.contains(" 405 Method Not Allowed\r\n"), "{request}");
        let mut gateway = server.connect().await;
        for byte in request.bytes() {
            gateway.stream.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        gateway.stream.shutdown().await.unwrap();
        let answer = gateway.rest().await;
        assert!(answer.starts_with("HTTP/1.") && answer.contains(" 405 Method Not Allowed\r\n"), "{answer}");
    }
    for other in ["PROPFIND", "PROPFIND / ", "HELLO WORLD\n"] {
        assert!(exchange(&server, other).await.contains("code=\"malformed\""), "{other}");
    }
}

#[tokio::test]
async fn a_request_that_says_its_length_in_two_ways_is_read_by_its_chunks_and_is_the_last() {
    let server = Server::start().await;
    let document = push("1", 0, &[1.0]);
    let length = format!("Content-Length: {}\r\n", document.len());
    let next = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    for (before, behind) in [(length.as_str(), ""), ("", length.as_str())] {
        let both = format!(
            "POST / HTTP/1.1\r\nHost: a\r\n{before}Transfer-Encoding: chunked\r\n{behind}\r\n{:x}\r\n{document}\r\n0\r\n\r\n{next}",
            document.len()
        );
        let answers = exchange(&server, &both).await;
        let statuses: Vec<&str> = answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
        // Nothing behind the chunks is taken for a request (RFC 9112 section 6.1).
        assert_eq!(statuses, ["200"], "{before}{behind}{answers}");
        assert!(answers.contains("connection: close"), "{answers}");
    }
    assert_eq!(server.values().await, [1.0]);
    let two = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n{document}");
    assert!(exchange(&server, &two).await.starts_with("HTTP/1.1 400"));
}

#[tokio::test]
async fn who_asks_before_sending_a_body_is_told_to_go_on_only_where_it_is_wanted() {
    let server = Server::start().await;
    let document = push("1", 0, &[1.0]);
    let mut gateway = server.connect().await;
    let head = |length: usize| format!("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n");
    gateway.send(&head(document.len())).await;
    assert_eq!(gateway.answer().await, "HTTP/1.1 100 Continue\r");
    assert_eq!(gateway.answer().await, "\r");
    gateway.send(&document).await;
    assert_eq!(gateway.answer().await, "HTTP/1.1 200 OK\r");
    // Nothing of the body is sent.
    let mut gateway = server.connect().await;
    gateway.send(&head(9 << 20)).await;
    let answer = gateway.rest().await;
    assert!(answer.starts_with("HTTP/1.1 413") && !answer.contains("100 Continue"), "{answer}");
    assert_eq!(server.values().await, [1.0]);
}

#[tokio::test]
async fn chunks_may_have_extensions_and_trailers_behind_them() {
    let server = Server::start().await;
    let document = push("1", 0, &[1.0]);
    let (one, two) = document.split_at(30);
    let request = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n{:x};a=b\r\n{one}\r\n{:X};c=\"d\"\r\n{two}\r\n0;e\r\nX-Sum: 1\r\n\r\n",
        one.len(),
        two.len()
    );
    let next = push("2", 1, &[2.0]);
    let sized = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{next}", next.len());
    let answers = exchange(&server, &format!("{request}{sized}")).await;
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 2, "{answers}");
    assert_eq!(server.values().await, [1.0, 2.0]);
}

#[tokio::test]
async fn requests_may_be_sent_ahead_of_their_answers() {
    let server = Server::start().await;
    let post = |seq: &str, minute| {
        let document = push(seq, minute, &[1.0]);
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{document}", document.len())
    };
    let requests = format!("{}{}GET / HTTP/1.1\r\nHost: a\r\n\r\n{}", post("1", 0), post("2", 1), post("3", 2));
    let answers = exchange(&server, &requests).await;
    let statuses: Vec<&str> = answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["200", "200", "405", "200"], "{answers}");
    assert_eq!(server.values().await.len(), 3);
}

#[tokio::test]
async fn old_devices_keep_a_connection_where_they_ask_for_it() {
    let server = Server::start().await;
    let post = |seq: &str, minute, connection: &str| {
        let document = push(seq, minute, &[1.0]);
        format!("POST / HTTP/1.0\r\n{connection}Content-Length: {}\r\n\r\n{document}", document.len())
    };
    let kept = format!("{}{}", post("1", 0, "Connection: keep-alive\r\n"), post("2", 1, ""));
    let answers = exchange(&server, &kept).await.to_lowercase();
    assert_eq!(answers.matches(" 200 ok").count(), 2, "{answers}");
    assert!(answers.contains("connection: keep-alive"), "{answers}");
    let closed = exchange(&server, &format!("{}{}", post("3", 2, ""), post("4", 3, ""))).await;
    assert_eq!(closed.matches(" 200 OK").count(), 1, "{closed}");
}

#[tokio::test]
async fn a_path_may_end_in_a_slash() {
    let server = Server::start().await;
    let document = push("1", 0, &[1.0]).replace(&format!(" key=\"{KEY}\""), "");
    let reply = send(&server, &format!("POST /push/gw-0001/{KEY}/ HTTP/1.1\r\nHost: a"), document.as_bytes()).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
}

#[tokio::test]
async fn credentials_of_a_request_that_is_not_taken_for_one_are_masked() {
    let server = Server::start().await;
    let request =
        format!("POST /push/gw-0001/{KEY} HTTP/1.1\r\nHost: a\r\n{}\r\nContent-Length: 6\r\n\r\n<DAS/>", basic("gw-0001", KEY));
    let begins = ["PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", " ", "<inventory/>"];
    for begin in begins {
        assert!(exchange(&server, &format!("{begin}{request}")).await.contains("code=\"malformed\""));
    }
    let kept = server.quarantine().await;
    let requests = kept.iter().map(|row| String::from_utf8_lossy(&row.entry.raw)).filter(|raw| raw.contains("POST"));
    let masked = requests.inspect(|raw| {
        assert!(raw.contains("POST /push/gw-0001/*** HTTP/1.1\r\nHost: a\r\nAuthorization: ***\r\n"), "{raw}");
        assert!(!raw.contains(KEY) && !raw.contains("Basic"), "{raw}");
    });
    assert_eq!(masked.count(), begins.len());
}
