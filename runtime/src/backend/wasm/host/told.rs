//! What a guest was told: to close, and until when.

use std::time::Duration;

use tokio::{sync::watch, time::Instant};

/// The longest grace that is counted; what asks for more, waits this long.
const GRACE_MOST: Duration = Duration::from_secs(24 * 3600);

/// The guest's side: knows whether it was told to close.
#[derive(Debug, Clone)]
pub struct Told(watch::Receiver<Option<Instant>>);

/// The host's side: tells it.
#[derive(Debug)]
pub struct Tell(watch::Sender<Option<Instant>>);

/// Makes both sides.
pub fn told() -> (Tell, Told) {
    let (tell, told) = watch::channel(None);
    (Tell(tell), Told(told))
}

impl Tell {
    /// Tells the guest to close within a grace. Told again, the sooner end counts.
    pub fn close(&self, grace: Duration) {
        let end = Instant::now() + grace.min(GRACE_MOST);
        self.0.send_modify(|told| *told = Some(told.map_or(end, |before| before.min(end))));
    }
}

impl Told {
    /// Whether the guest was told to close.
    pub fn is_closing(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Waits until the guest is told to close.
    pub async fn closing(&mut self) {
        if self.0.wait_for(Option::is_some).await.is_err() {
            // The host's side is gone only when the host ends, and this guest with it.
            std::future::pending::<()>().await;
        }
    }

    /// Waits until the grace is over.
    pub async fn over(&mut self) {
        loop {
            let end = *self.0.borrow_and_update();
            let changed = async {
                if self.0.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            match end {
                None => changed.await,
                Some(end) => tokio::select! {
                    () = tokio::time::sleep_until(end) => return,
                    () = changed => {}
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_sooner_end_counts() {
        let (tell, told) = told();
        assert!(!told.is_closing());
        let start = Instant::now();
        tell.close(Duration::from_secs(10));
        let waiting = tokio::spawn({
            let mut told = told.clone();
            async move { told.over().await }
        });
        tokio::task::yield_now().await;
        tell.close(Duration::from_millis(50));
        tell.close(Duration::from_millis(u64::MAX));
        assert!(waiting.await.is_ok());
        assert!((Duration::from_millis(50)..Duration::from_secs(5)).contains(&start.elapsed()));
        assert!(told.is_closing());
    }
}
