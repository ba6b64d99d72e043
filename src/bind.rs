//! Listening sockets, and who has a port that is taken.

use std::net::SocketAddr;

use anyhow::{Context as _, anyhow};
use tokio::net::{TcpListener, TcpSocket};

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;

/// Listens on an address; where it is taken, the error says by what.
pub(crate) fn listen(address: SocketAddr, setting: &str) -> anyhow::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.context("make a socket")?;
    socket.set_reuseaddr(true).context("set up a socket")?;
    socket.bind(address).and_then(|()| socket.listen(BACKLOG)).map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            let holder = holder(address.port()).unwrap_or_else(|| "another program".to_owned());
            anyhow!("port {} is taken by {holder}; end it or choose another address with {setting}", address.port())
        }
        std::io::ErrorKind::PermissionDenied => {
            anyhow!("{address} may not be listened on: {error}; choose another with {setting}")
        }
        _ => anyhow!("{address} cannot be listened on: {error}; choose another with {setting}"),
    })
}

/// The program that listens on a port, as the kernel's tables tell it.
fn holder(port: u16) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .find_map(|table| listening_inode(&std::fs::read_to_string(table).ok()?, port))?;
    let wanted = format!("socket:[{inode}]");
    let processes = std::fs::read_dir("/proc").ok()?;
    processes.flatten().find_map(|process| {
        let id: u32 = process.file_name().to_str()?.parse().ok()?;
        let mut files = std::fs::read_dir(process.path().join("fd")).ok()?.flatten();
        files.find(|file| std::fs::read_link(file.path()).is_ok_and(|target| target.as_os_str() == wanted.as_str()))?;
        let command = std::fs::read(process.path().join("cmdline")).ok()?;
        // The program and its subcommand: further arguments may be nobody's business.
        let words = command.split(|b| *b == 0).map(|word| String::from_utf8_lossy(word).into_owned());
        let shown: Vec<String> = words.take(2).filter(|word| !word.is_empty() && !word.starts_with('-')).collect();
        Some(format!("process {id} ({})", shown.join(" ")))
    })
}

/// The socket that listens (state 0A) on a port in a table of `/proc/net`.
fn listening_inode(table: &str, port: u16) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        let mut columns = line.split_whitespace();
        let local = columns.nth(1)?;
        let state = columns.nth(1)?;
        let inode = columns.nth(5)?;
        let (_, hex) = local.rsplit_once(':')?;
        (state == "0A" && u16::from_str_radix(hex, 16).ok()? == port).then(|| inode.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_named_with_its_holder() {
        let first = listen(SocketAddr::from(([127, 0, 0, 1], 0)), "--listen").unwrap();
        let error = listen(first.local_addr().unwrap(), "--listen").unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        assert!(error.contains("--listen") && !error.contains('\n'), "{error}");
    }
}
