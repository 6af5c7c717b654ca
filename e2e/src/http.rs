//! The little HTTP that readiness checks and WebHDFS need: GET, over HTTP/1.0 so that the body ends with the
//! connection.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};

const ANSWER: Duration = Duration::from_secs(30);

/// The body of `http://<address><target>`.
pub fn get(address: &str, target: &str) -> Result<Vec<u8>> {
    let response = exchange(address, target).with_context(|| format!("GET http://{address}{target}"))?;
    let (head, body) =
        split(&response).with_context(|| format!("GET http://{address}{target}: no HTTP response"))?;
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        bail!("GET http://{address}{target}: {status}\n{}", String::from_utf8_lossy(body));
    }
    Ok(body.to_owned())
}

fn exchange(address: &str, target: &str) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ANSWER))?;
    write!(stream, "GET {target} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response)?;
    Ok(response)
}

fn split(response: &[u8]) -> Option<(&str, &[u8])> {
    let end = response.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some((std::str::from_utf8(&response[..end]).ok()?, &response[end + 4..]))
}
