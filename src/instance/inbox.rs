//! Where reports and questions wait for the master.

use tokio::sync::mpsc;

use super::link::INBOX;
use super::master::Report;
use super::stats_socket::Ask;

/// So often those who have no end of saying something are waited for.
const ROUNDS: usize = 100;

/// Where reports and questions arrive.
pub(super) struct Inbox {
    pub(super) reports: mpsc::Receiver<Report>,
    pub(super) asks: mpsc::Receiver<Ask>,
}

/// The inbox, with the ends that fill it.
pub(super) fn inbox() -> (mpsc::Sender<Report>, mpsc::Sender<Ask>, Inbox) {
    let (reports, reports_in) = mpsc::channel(INBOX);
    let (asks, asks_in) = mpsc::channel(INBOX);
    (reports, asks, Inbox { reports: reports_in, asks: asks_in })
}

/// What was sent to an inbox, and what those who fill it have still in hand. Until the next wait there is nothing more:
/// what is read from a channel and then forgotten, nobody says again.
pub(super) async fn take_all<T>(inbox: &mut mpsc::Receiver<T>) -> Vec<T> {
    let mut all = Vec::new();
    for _ in 0..ROUNDS {
        let before = all.len();
        while let Ok(message) = inbox.try_recv() {
            all.push(message);
        }
        if all.len() == before {
            break;
        }
        tokio::task::yield_now().await;
    }
    while let Ok(message) = inbox.try_recv() {
        all.push(message);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_stays_in_an_inbox_whenever_it_came() {
        for turns in 0..2 * ROUNDS {
            let local = tokio::task::LocalSet::new();
            local
                .run_until(async {
                    let (sender, mut inbox) = mpsc::channel(1);
                    sender.send(0).await.unwrap();
                    let task = tokio::task::spawn_local(async move {
                        for turn in 1..=turns {
                            sender.send(turn).await.unwrap();
                            tokio::task::yield_now().await;
                        }
                    });
                    let taken = take_all(&mut inbox).await;
                    assert!(taken.iter().copied().eq(0..taken.len()), "{taken:?}");
                    assert!(inbox.try_recv().is_err(), "after {turns} turns");
                    task.abort();
                })
                .await;
        }
    }
}
