//! A connection that is another protocol's: bytes pass in both directions as they come, until one side ends or both are
//! silent.

use std::cell::Cell;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};
use tokio::time::{Instant, sleep_until, timeout};

use super::pipe::Line;
use crate::proto::limits::Limits;

/// How much is read at once.
const PIECE_BYTES: usize = 16 * 1024;

/// Passes on what `client` sends, of whom so much was read already, and what comes from `line`.
pub(super) async fn run<S: AsyncRead + AsyncWrite>(limits: &Limits, client: S, read: &[u8], line: Line) {
    let Line { socket, meter: _meter } = line;
    let (from_worker, mut to_worker) = split(socket);
    let (from_client, to_client) = split(client);
    let last = Cell::new(Instant::now());
    let up = async {
        to_worker.write_all(read).await?;
        pass(from_client, to_worker, &last).await
    };
    let down = async { pass(from_worker, to_client, &last).await };
    let both = async {
        tokio::pin!(up, down);
        // Who has been told of the end has a moment to say goodbye.
        tokio::select! {
            _ = &mut up => { let _ = timeout(limits.linger_time, down).await; }
            _ = &mut down => { let _ = timeout(limits.linger_time, up).await; }
        }
    };
    tokio::select! {
        () = both => {}
        () = silence(&last, limits.body_idle) => {}
    }
}

/// Passes on what comes, and then the end.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    last: &Cell<Instant>,
) -> io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let length = from.read(&mut piece).await?;
        last.set(Instant::now());
        if length == 0 {
            return to.shutdown().await;
        }
        let mut left = piece.get(..length).unwrap_or_default();
        while !left.is_empty() {
            let written = to.write(left).await?;
            last.set(Instant::now());
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            left = left.get(written..).unwrap_or_default();
        }
        to.flush().await?;
    }
}

/// Returns when nothing has passed for so long.
async fn silence(last: &Cell<Instant>, limit: Duration) {
    loop {
        let until = last.get() + limit;
        if until <= Instant::now() {
            return;
        }
        sleep_until(until).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};

    use super::*;
    use crate::router::socket::Socket;
    use crate::sys::stream;

    fn limits() -> Limits {
        Limits {
            body_idle: Duration::from_millis(100),
            linger_time: Duration::from_millis(50),
            ..Limits::default()
        }
    }

    /// A relay between two ends.
    async fn between<F: Future<Output = ()>>(talk: impl FnOnce(DuplexStream, Socket) -> F) {
        let (client, inner) = duplex(10);
        let (worker, line) = stream::pair().unwrap();
        let limits = limits();
        tokio::join!(
            run(&limits, inner, b"early ", Line { socket: Socket::of_line(line).unwrap(), meter: None }),
            talk(client, Socket::of_line(worker).unwrap())
        );
    }

    #[tokio::test]
    async fn bytes_pass_in_both_directions_and_so_does_the_end() {
        between(|mut client, mut worker| async move {
            let all = vec![7; 100_000];
            let mut read = Vec::new();
            let (mut from_client, mut to_client) = split(&mut client);
            let (sent, read_by_worker) = tokio::join!(
                async {
                    to_client.write_all(&all).await.unwrap();
                    to_client.shutdown().await
                },
                worker.read_to_end(&mut read)
            );
            sent.unwrap();
            assert_eq!(read_by_worker.unwrap(), 100_006);
            assert!(read.starts_with(b"early ") && read.ends_with(&[7; 100]));
            worker.write_all(b"bye").await.unwrap();
            drop(worker);
            let mut last = String::new();
            from_client.read_to_string(&mut last).await.unwrap();
            assert_eq!(last, "bye");
        })
        .await;
    }

    #[tokio::test]
    async fn silence_ends_it_and_so_does_a_side_that_does_not_follow_the_other() {
        between(|client, mut worker| async move {
            let mut read = Vec::new();
            worker.read_to_end(&mut read).await.unwrap();
            assert_eq!(read, b"early ");
            drop(client);
        })
        .await;
        between(|mut client, worker| async move {
            drop(worker);
            assert_eq!(client.read(&mut [0; 10]).await.unwrap(), 0);
            // The relay ends though we do not.
            assert!(client.read(&mut [0; 10]).await.is_ok());
        })
        .await;
    }
}
