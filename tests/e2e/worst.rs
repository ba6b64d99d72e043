//! The documents that take the most memory, as large as they may be and many at once:
//! ingest stays within what its container has, and a gateway beside is served.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::binary::free_address;
use crate::crash::commission;
use crate::ingest::Ingest;
use crate::load::KEY;
use crate::storm::memory;

/// The largest document, and a little less.
const BYTES: usize = 8 * 1024 * 1024 - 4096;
/// Addresses that the documents come from, each of which sends one of every kind.
const ADDRESSES: usize = 4;
/// What the container of an ingest has unless somebody says otherwise, KiB.
const CONTAINER: u64 = 512 * 1024;
/// For all of them, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(400);
/// What a gateway beside them waits for an ack at most, where others build meanwhile: one
/// transaction of an unoptimised build writes a million values.
const PROMPT: Duration = Duration::from_secs(30);
/// The gateway beside.
const BESIDE: usize = ADDRESSES * 4;

/// A document of a gateway, and how its answer begins.
struct Worst {
    document: String,
    answer: &'static str,
}

/// A document that is filled with elements up to its size.
fn filled(begin: &str, element: impl Fn(usize) -> String, end: &str) -> String {
    let mut document = begin.to_owned();
    for number in 0.. {
        let element = element(number);
        if document.len() + element.len() + end.len() > BYTES {
            break;
        }
        document.push_str(&element);
    }
    document + end
}

/// A name as long as names may be, in characters of four bytes.
fn long(characters: usize) -> String {
    "\u{1F31E}".repeat(characters)
}

/// A number in as few characters as can be.
fn short(mut number: usize) -> String {
    const DIGITS: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.";
    let mut text = String::new();
    loop {
        text.push(char::from(DIGITS[number % DIGITS.len()]));
        number /= DIGITS.len();
        if number == 0 {
            return text;
        }
    }
}

/// The four kinds, from gateways of these numbers on.
fn worst(first: usize) -> [Worst; 4] {
    let hello = |number: usize| format!("<hello gateway=\"gw-{number}\" key=\"{KEY}\"/>");
    let pack =
        |number: usize, base: &str| format!("{}<sensml xmlns=\"urn:ietf:params:xml:ns:senml\"><senml {base}/>", hello(number));
    // Each record is two readings, whose unit is as long as one may be that so many share.
    let unit = "bn=\"a\" bu=\"abcdefghijklmnop\" bv=\"1\" bs=\"1\"";
    let readings = filled(&pack(first, unit), |_| "<e t=\"0\"/>".to_owned(), "</sensml>");
    // Each record is a sensor with two readings, whose name begins like all others.
    let name = format!("bn=\"{}\" bv=\"1\" bs=\"1\"", "s".repeat(40));
    let sensors = filled(&pack(first + 1, &name), |number| format!("<e n=\"{}\"/>", short(number)), "</sensml>");
    // Each cell is a reading.
    let columns = format!("<cname t=\"P\">{}</cname>", long(120)).repeat(50);
    let mut chain = format!(
        "{}<group serial=\"gw-{}\"><data columns=\"50\" time_stamp=\"0x6a000000\" time_delta=\"60\" epoch=\"0x1\">",
        hello(first + 2),
        first + 2
    );
    chain.push_str(&columns);
    let row = format!("<r>{}</r>", "<c>1</c>".repeat(50));
    let cells = filled(&chain, |_| row.clone(), "</data></group>");
    // Each element is one of a mapping's, all of which are there until the document has ended.
    let message = format!("{}<msg><src>CC128-v0.99</src><hist><data><sensor>0</sensor>", hello(first + 3));
    let history = filled(&message, |_| "<h1>1</h1>".to_owned(), "</data></hist></msg>");
    [
        Worst { document: readings, answer: "<ack readings=\"" },
        Worst { document: sensors, answer: "<nack code=\"unsupported\"" },
        Worst { document: cells, answer: "<ack readings=\"" },
        Worst { document: history, answer: "<ack readings=\"" },
    ]
}

async fn connect(to: SocketAddr, address: u8) -> BufReader<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, address], 0))).unwrap();
    BufReader::new(socket.connect(to).await.unwrap())
}

/// Sends a document from an address and waits for its answer, behind that to a hello.
async fn send(to: SocketAddr, address: u8, Worst { document, answer }: Worst) -> Duration {
    let (mut stream, began) = (connect(to, address).await, Instant::now());
    stream.write_all(document.as_bytes()).await.unwrap();
    let mut said = String::new();
    stream.read_line(&mut said).await.unwrap();
    assert_eq!(said, "<ack readings=\"0\"/>\n", "the answer to the hello");
    said.clear();
    stream.read_line(&mut said).await.unwrap();
    assert!(said.starts_with(answer), "{answer} … was expected: {said}");
    began.elapsed()
}

/// Pushes small documents one after the other until it is told to end; answers how many
/// were acked, and the longest that one of them took.
async fn beside(to: SocketAddr, end: CancellationToken) -> (usize, Duration) {
    let mut stream = connect(to, 100).await;
    let (mut acked, mut longest, mut line) = (0, Duration::ZERO, String::new());
    while !end.is_cancelled() {
        let began = Instant::now();
        let push = format!(
            "<push gateway=\"gw-{BESIDE}\" key=\"{KEY}\" seq=\"{acked}\"><sensor id=\"m\"><reading metric=\"a\">{acked}</reading></sensor></push>"
        );
        stream.write_all(push.as_bytes()).await.unwrap();
        line.clear();
        stream.read_line(&mut line).await.unwrap();
        assert_eq!(line, format!("<ack seq=\"{acked}\" readings=\"1\"/>\n"));
        longest = longest.max(began.elapsed());
        acked += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    (acked, longest)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_of_the_worst_documents_at_once_stay_within_the_memory_of_a_container() {
    check_memory((0..ADDRESSES).map(|address| (address, vec![address]))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn sixteen_of_the_worst_documents_at_once_stay_within_the_memory_of_a_container() {
    check_memory((0..ADDRESSES).map(|address| (address, vec![0, 1, 2, 3]))).await;
}

/// Sends documents of these kinds from these addresses, all at once.
async fn check_memory(from: impl Iterator<Item = (usize, Vec<usize>)>) {
    let folder = tempfile::tempdir().unwrap();
    commission(folder.path(), "sunrise", BESIDE + 1).await;
    let ingest = Ingest::start("sunrise", free_address(), &["--store", "sqlite:."], &[], folder.path());
    let before = memory(&ingest.process.0, "VmRSS");
    let end = CancellationToken::new();
    let served = tokio::spawn(beside(ingest.address, end.clone()));
    let mut sending = JoinSet::new();
    for (address, kinds) in from {
        for (_, document) in worst(address * 4).into_iter().enumerate().filter(|(kind, _)| kinds.contains(kind)) {
            assert!(document.document.len() > BYTES - 1024);
            sending.spawn(send(ingest.address, 2 + address as u8, document));
        }
    }
    let mut last = Duration::ZERO;
    let all = async {
        while let Some(took) = sending.join_next().await {
            last = last.max(took.unwrap());
        }
    };
    tokio::time::timeout(PATIENCE, all).await.unwrap();
    end.cancel();
    let (acked, longest) = served.await.unwrap();
    let most = memory(&ingest.process.0, "VmHWM");
    println!("{before} KiB before, {most} KiB at most; the last was answered after {last:?}");
    println!("{acked} documents of a gateway beside them were acked, each within {longest:?}");
    assert!(most < CONTAINER, "{most} KiB");
    assert!(acked > 10 && longest < PROMPT, "{acked} acked, {longest:?} at most");
    ingest.terminate();
}
