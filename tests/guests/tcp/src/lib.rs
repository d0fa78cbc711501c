//! Sockets: those that may be granted, and those that never are. The server to talk to is the
//! configuration's `target`, as `host:port`; it sends back what it gets.

use handoff_sdk::{Context, Result, ensure, ensure_eq};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};

handoff_sdk::suite! { name: "tcp", timeout: "5s" }

#[handoff_sdk::test]
fn echoes(cx: &Context) -> Result {
    let mut stream = TcpStream::connect(cx.require_param("target")?)?;
    stream.write_all("größe\n".as_bytes())?;
    let mut answer = [0; 8];
    stream.read_exact(&mut answer)?;
    ensure_eq!(&answer, "größe\n".as_bytes());
    println!("ECHOED");
    Ok(())
}

/// More than fits into any buffer on the way.
#[handoff_sdk::test]
fn echoes_megabytes(cx: &Context) -> Result {
    let mut stream = TcpStream::connect(cx.require_param("target")?)?;
    let block = [7_u8; 16 << 10];
    let mut answer = block;
    for _ in 0..256 {
        stream.write_all(&block)?;
        stream.read_exact(&mut answer)?;
        ensure!(answer == block, "ANOTHER BLOCK CAME BACK");
    }
    println!("ECHOED");
    Ok(())
}

/// Sends until it is stopped.
#[handoff_sdk::test]
fn sends_without_end(cx: &Context) -> Result {
    let mut stream = TcpStream::connect(cx.require_param("target")?)?;
    let (block, mut answer) = ([7_u8; 64 << 10], [0_u8; 64 << 10]);
    for sent in 0_u64.. {
        let exchanged = stream.write_all(&block).and_then(|()| stream.read_exact(&mut answer));
        if let Err(error) = exchanged {
            println!("REFUSED AFTER {} KiB: {error}", sent * 64);
            break;
        }
    }
    Ok(())
}

/// Another port of the same host, which is not granted: the configuration's `denied`.
#[handoff_sdk::test]
fn is_denied_another_port(cx: &Context) -> Result {
    let denied = TcpStream::connect(cx.require_param("denied")?);
    let error =
        denied.err().ok_or_else(|| handoff_sdk::Error::msg("CONNECTED TO WHAT IS DENIED"))?;
    println!("DENIED: {error}");
    Ok(())
}

/// Waits for an answer that never comes: the configuration's `silent`.
#[handoff_sdk::test(timeout = "200ms")]
fn waits_for_ever(cx: &Context) -> Result {
    let mut stream = TcpStream::connect(cx.require_param("silent")?)?;
    stream.read_exact(&mut [0])?;
    Ok(())
}

/// Opens connections until it is stopped.
#[handoff_sdk::test]
fn opens_too_many(cx: &Context) -> Result {
    let target = cx.require_param("target")?;
    let mut open = Vec::new();
    for number in 0..100_000 {
        match TcpStream::connect(&target) {
            Ok(stream) => open.push(stream),
            Err(error) => {
                println!("REFUSED AFTER {number} CONNECTIONS: {error}");
                break;
            }
        }
    }
    Ok(())
}

#[handoff_sdk::test]
fn cannot_listen() -> Result {
    for address in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0"] {
        ensure!(TcpListener::bind(address).is_err(), "LISTENED ON {address}");
    }
    Ok(())
}

#[handoff_sdk::test]
fn cannot_use_udp() -> Result {
    if let Ok(socket) = UdpSocket::bind("127.0.0.1:0") {
        ensure!(socket.send_to(b"x", "127.0.0.1:9").is_err(), "SENT A DATAGRAM");
    }
    Ok(())
}

/// A name that is not granted.
#[handoff_sdk::test]
fn cannot_look_up_names() -> Result {
    ensure!("denied.example.test:80".to_socket_addrs().is_err(), "LOOKED UP A NAME");
    Ok(())
}
