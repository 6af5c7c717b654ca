//! A way to a server on which one message is lost, once: the request, or the reply to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Lose {
    /// The server never hears of it.
    Request,
    /// The server has done it, and nobody is told.
    Reply,
}

pub(crate) struct Lossy {
    pub(crate) address: String,
    lost: Arc<AtomicBool>,
}

impl Lossy {
    /// Forwards to `server` until a request holds `marker`; then loses, and forwards again.
    pub(crate) async fn before(server: &str, marker: &str, lose: Lose) -> Lossy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let lost = Arc::new(AtomicBool::new(false));
        let (server, marker) = (server.to_owned(), marker.to_owned());
        tokio::spawn({
            let lost = Arc::clone(&lost);
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    let server = TcpStream::connect(&server).await.unwrap();
                    tokio::spawn(forward(client, server, marker.clone(), lose, lost.clone()));
                }
            }
        });
        Lossy { address, lost }
    }

    pub(crate) fn has_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }
}

/// Ends, and with it both connections, when either side does or when the message is lost.
async fn forward(
    mut client: TcpStream,
    mut server: TcpStream,
    marker: String,
    lose: Lose,
    lost: Arc<AtomicBool>,
) {
    let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut lose_reply = false;
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(len @ 1..) = read else { return };
                let holds = asked[..len].windows(marker.len()).any(|w| w == marker.as_bytes());
                if holds && !lost.swap(true, Ordering::Relaxed) {
                    match lose {
                        Lose::Request => return,
                        Lose::Reply => lose_reply = true,
                    }
                }
                if server.write_all(&asked[..len]).await.is_err() { return }
            }
            read = server.read(&mut answered) => {
                let Ok(len @ 1..) = read else { return };
                if lose_reply || client.write_all(&answered[..len]).await.is_err() { return }
            }
        }
    }
}
