//! The end of a link: orderly or not, nothing is left.

use std::time::Duration;

use super::{
    super::{LinkError, PublishError},
    redis::Redis,
    *,
};

/// Waits until so many tasks are left on the runtime.
async fn tasks(count: usize) {
    let metrics = tokio::runtime::Handle::current().metrics();
    while metrics.num_alive_tasks() != count {
        tokio::task::yield_now().await;
    }
}

/// Waits until Redis has no connection of ours.
async fn no_connections(redis: &Redis) {
    while !redis.connections().await.is_empty() {}
}

fn alive() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

#[test]
fn close_sends_what_is_queued_and_leaves_nothing() {
    run(async {
        let redis = Redis::start(&[]).await;
        let recorder = Recorder::new();
        let other = Link::open(options(redis.url(), &recorder)).await.unwrap();
        other.subscribe(channel("c"));
        other.settled().await;
        let before = alive();
        let mut options = options(redis.url(), &recorder);
        options.close_timeout = Duration::from_secs(30);
        let link = Link::open(options).await.unwrap();
        link.subscribe(channel("own"));
        link.settled().await;
        for number in 0..20_000 {
            link.publish(Space::Classic, "c", numbered(number)).unwrap();
        }
        let again = link.clone();
        tokio::join!(link.close(), again.close());
        assert_eq!(alive(), before, "a task is left");
        assert_eq!((link.stats().confirmed, link.stats().dropped), (20_000, 0));
        assert_eq!(redis.subscribers("own").await, 0);
        assert_eq!(redis.connections().await.len(), 2, "those of the other link");
        recorder.received(20_000).await;
        // Nothing works any more, and nothing waits.
        link.close().await;
        link.settled().await;
        link.subscribe(channel("own"));
        assert_eq!(link.publish(Space::Classic, "c", numbered(0)), Err(PublishError::Closed));
        assert_eq!(link.subscribers(Space::Classic, "c").await, Err(LinkError::Closed));
        other.close().await;
    });
}

#[test]
fn dropping_the_last_handle_ends_everything() {
    run(async {
        let redis = Redis::start(&[]).await;
        let recorder = Recorder::new();
        let before = alive();
        let link = Link::open(options(redis.url(), &recorder)).await.unwrap();
        link.subscribe(channel("c"));
        link.settled().await;
        let second = link.clone();
        drop(link);
        second.publish(Space::Classic, "c", numbered(0)).unwrap();
        recorder.received(1).await;
        drop(second);
        tasks(before).await;
        no_connections(&redis).await;
        assert_eq!(redis.subscribers("c").await, 0);
    });
}

#[test]
fn giving_up_on_opening_ends_everything() {
    run(async {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let recorder = Recorder::new();
        let before = alive();
        let opening = Link::open(options(format!("redis://{}", silent.local_addr().unwrap()), &recorder));
        assert!(tokio::time::timeout(Duration::from_millis(50), opening).await.is_err());
        tasks(before).await;
    });
}

#[test]
fn close_while_redis_is_away_is_quick_and_says_what_is_lost() {
    run(async {
        let mut redis = Redis::start(&[]).await;
        let recorder = Recorder::new();
        let before = alive();
        let mut options = options(redis.url(), &recorder);
        options.backoff = (Duration::from_secs(20), Duration::from_secs(20));
        let link = Link::open(options).await.unwrap();
        redis.kill().await;
        for _ in 0..2 {
            recorder.event(|event| matches!(event, RedisEvent::Lost { .. }).then_some(())).await;
        }
        for number in 0..100 {
            link.publish(Space::Classic, "c", numbered(number)).unwrap();
        }
        let began = std::time::Instant::now();
        link.close().await;
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        let undelivered = recorder
            .event(|event| match event {
                RedisEvent::Closed { undelivered } => Some(*undelivered),
                _ => None,
            })
            .await;
        assert_eq!((undelivered, link.stats().dropped), (100, 100));
        assert_eq!((link.stats().connected, link.stats().closed), (1, 1));
        drop(redis);
        tasks(before - 1).await; // the one that reads what Redis prints ended as well
    });
}

#[test]
fn close_does_not_wait_for_a_redis_that_hangs() {
    run(async {
        let redis = Redis::start(&[]).await;
        let recorder = Recorder::new();
        let before = alive();
        let mut options = options(redis.url(), &recorder);
        options.close_timeout = Duration::from_millis(200);
        let link = Link::open(options).await.unwrap();
        redis.pause();
        for number in 0..10_000 {
            link.publish(Space::Classic, "c", numbered(number)).unwrap();
        }
        let began = std::time::Instant::now();
        link.close().await;
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        assert_eq!(alive(), before, "a task is left");
        let stats = link.stats();
        assert_eq!((stats.unconfirmed + stats.dropped, stats.confirmed), (10_000, 0));
    });
}

#[test]
fn a_receiver_that_is_gone_is_no_obstacle() {
    run(async {
        let redis = Redis::start(&[]).await;
        let recorder = Recorder::new();
        let link = Link::open(options(redis.url(), &recorder)).await.unwrap();
        drop(recorder);
        link.subscribe(channel("c"));
        link.settled().await;
        link.publish(Space::Classic, "c", numbered(0)).unwrap();
        link.close().await;
        assert_eq!(link.stats().confirmed, 1);
    });
}
