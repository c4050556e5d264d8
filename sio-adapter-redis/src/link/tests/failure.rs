//! Redis goes, hangs, or throws us out; the link mends itself and says so.

use std::time::Duration;

use super::{
    super::{LinkError, LostReason, PublishError, RedisConnection, resp::Value},
    proxy::Proxy,
    redis::{Redis, free_port},
    *,
};

/// Waits for the loss of a connection of a kind.
async fn lost(recorder: &Recorder, kind: RedisConnection) -> LostReason {
    recorder
        .event(|event| match event {
            RedisEvent::Lost { connection, reason, .. } if *connection == kind => Some(reason.clone()),
            _ => None,
        })
        .await
}

#[test]
fn redis_killed_and_restarted_under_load_gets_what_waited_in_order() {
    run(async {
        let mut redis = Redis::start(&[]).await;
        let recorder = Recorder::new();
        let link = Link::open(options(redis.url(), &recorder)).await.unwrap();
        link.subscribe(channel("c"));
        link.subscribe(pattern("p*"));
        link.settled().await;
        let mut next = 0;
        let mut publish = |count| {
            for _ in 0..count {
                link.publish(Space::Classic, "c", numbered(next)).unwrap();
                next += 1;
            }
            next
        };
        publish(1000);
        recorder.received(500).await;
        publish(5000);
        redis.kill().await;
        publish(1000);
        lost(&recorder, RedisConnection::Publisher).await;
        // What was under way when it died is lost to everybody; these are published while it is known to be dead.
        let down_from = publish(5000) - 5000;
        assert_eq!(link.subscribers(Space::Classic, "c").await, Err(LinkError::Down));
        redis.restart().await;
        recorder.restored().await;
        let all = publish(1000);
        while recorder.messages.lock().unwrap().last().is_none_or(|(_, last)| number(last) != all - 1) {
            let count = *recorder.count.borrow();
            recorder.received(count + 1).await;
        }
        let numbers = recorder.numbers();
        assert!(numbers.is_sorted_by(|a, b| a < b), "out of order, or twice");
        assert!(numbers.iter().rev().copied().take((all - down_from) as usize).eq((down_from..all).rev()));
        link.publish(Space::Classic, "p1", numbered(all)).unwrap();
        recorder.received(numbers.len() + 1).await;
        assert_eq!((redis.subscribers("c").await, link.subscribers(Space::Classic, "c").await), (1, Ok(1)));
        let stats = link.stats();
        assert_eq!((stats.restored, stats.lost), (1, 2));
        link.close().await;
        let stats = link.stats();
        assert_eq!((stats.confirmed + stats.unconfirmed, stats.queued_bytes), (stats.published, 0));
        assert_eq!(stats.published - stats.unconfirmed, stats.confirmed);
    });
}

#[test]
fn only_the_subscriber_killed_is_mended_alone_and_never_subscribed_twice() {
    run(async {
        let redis = Redis::start(&[]).await;
        let recorder = Recorder::new();
        let link = Link::open(options(redis.url(), &recorder)).await.unwrap();
        link.subscribe(channel("c"));
        link.settled().await;
        for round in 0..3 {
            assert_eq!(redis.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]).await, Value::Number(1));
            assert_eq!(lost(&recorder, RedisConnection::Subscriber).await, LostReason::Closed);
            recorder.restored().await;
            assert_eq!(redis.subscribers("c").await, 1);
            link.publish(Space::Classic, "c", numbered(round)).unwrap();
            recorder.received(round as usize + 1).await;
        }
        let stats = link.stats();
        assert_eq!((stats.lost, stats.restored, stats.unconfirmed), (3, 3, 0));
        link.close().await;
    });
}

#[test]
fn a_connection_that_is_dead_without_being_closed_is_found_and_not_left_subscribed() {
    run(async {
        let redis = Redis::start(&[]).await;
        let proxy = Proxy::start(redis.port).await;
        let recorder = Recorder::new();
        let mut options = options(format!("redis://127.0.0.1:{}", proxy.port), &recorder);
        options.probe_interval = Duration::from_millis(100);
        options.answer_timeout = Duration::from_millis(300);
        let link = Link::open(options).await.unwrap();
        link.subscribe(channel("c"));
        link.settled().await;
        assert_eq!(link.stats().probes, 1);
        proxy.freeze();
        let reason = lost(&recorder, RedisConnection::Subscriber).await;
        assert_eq!(reason, LostReason::ProbeLost { after: Duration::from_millis(300) });
        recorder.restored().await;
        // Redis knows nothing of the proxy's silence: without our doing the old connection would count as well.
        assert_eq!(redis.subscribers("c").await, 1);
        assert_eq!(redis.connections().await.len(), 2);
        let stats = link.stats();
        assert_eq!((stats.killed, stats.lost, stats.lost_probes), (2, 2, 1));
        link.publish(Space::Classic, "c", numbered(0)).unwrap();
        recorder.received(1).await;
        link.close().await;
    });
}

#[test]
fn a_message_into_a_dead_connection_is_counted_and_the_next_arrive() {
    run(async {
        let redis = Redis::start(&[]).await;
        let proxy = Proxy::start(redis.port).await;
        let recorder = Recorder::new();
        let mut options = options(format!("redis://127.0.0.1:{}", proxy.port), &recorder);
        options.answer_timeout = Duration::from_millis(300);
        options.probe_interval = Duration::from_secs(1);
        let link = Link::open(options).await.unwrap();
        link.subscribe(channel("c"));
        link.settled().await;
        proxy.freeze();
        // Far more than may be under way.
        for number in 0..10_000 {
            link.publish(Space::Classic, "c", numbered(number)).unwrap();
        }
        let reason = lost(&recorder, RedisConnection::Publisher).await;
        assert_eq!(reason, LostReason::Unanswered { after: Duration::from_millis(300) });
        let lost = link.stats().unconfirmed;
        assert!((1..5_000).contains(&lost), "{lost} were under way");
        // The rest waits until the subscription, which is dead as well, has been proven again.
        recorder.received(10_000 - lost as usize).await;
        assert!(recorder.numbers().into_iter().eq(lost..10_000));
        link.close().await;
    });
}

#[test]
fn a_full_queue_has_a_name_and_is_told_once() {
    run(async {
        let mut redis = Redis::start(&[]).await;
        let recorder = Recorder::new();
        let mut options = options(redis.url(), &recorder);
        options.max_queued_bytes = 100_000;
        let link = Link::open(options).await.unwrap();
        link.subscribe(channel("c"));
        link.settled().await;
        redis.kill().await;
        lost(&recorder, RedisConnection::Publisher).await;
        let (mut taken, mut refused) = (0, 0);
        for number in 0..1000 {
            match link.publish(Space::Classic, "c", numbered(number)) {
                Ok(()) => taken += 1,
                Err(PublishError::QueueFull { message, queued, limit: 100_000 }) => {
                    assert!(queued <= 100_000 && queued + message > 100_000);
                    refused += 1;
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert!(taken > 100 && refused > 100, "{taken} taken, {refused} refused");
        assert_eq!((link.stats().published, link.stats().refused), (taken, refused));
        let mut full = 0;
        redis.restart().await;
        let drained = recorder
            .event(|event| match event {
                RedisEvent::QueueFull { limit: 100_000, .. } => {
                    full += 1;
                    None
                }
                RedisEvent::QueueDrained { refused } => Some(*refused),
                _ => None,
            })
            .await;
        assert_eq!((full, drained), (1, refused));
        assert_eq!((link.stats().queue_full, link.stats().queue_drained), (1, 1));
        recorder.received(taken as usize).await;
        assert!(recorder.numbers().into_iter().eq(0..taken));
        link.close().await;
    });
}

#[test]
fn redis_down_at_the_start_is_an_error_in_time() {
    run(async {
        let recorder = Recorder::new();
        let port = free_port();
        let mut options = options(format!("redis://127.0.0.1:{port}"), &recorder);
        options.connect_timeout = Duration::from_millis(300);
        let before = std::time::Instant::now();
        let error = Link::open(options).await.err().unwrap();
        let took = before.elapsed();
        assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(2), "{took:?}");
        let ConnectError::Unreachable { ref server, ref error, .. } = error else { panic!("{error}") };
        assert_eq!(*server, format!("127.0.0.1:{port}"));
        assert!(error.contains("refused"), "{error}");
    });
}

#[test]
fn a_server_that_never_answers_is_an_error_in_time() {
    run(async {
        // The system takes the connection, nobody ever reads from it.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let recorder = Recorder::new();
        let mut options = options(format!("redis://{}", silent.local_addr().unwrap()), &recorder);
        options.connect_timeout = Duration::from_millis(300);
        let error = Link::open(options).await.err().unwrap();
        assert!(
            matches!(&error, ConnectError::Unreachable { error, .. } if error.contains("no answer")),
            "{error}"
        );
    });
}

#[test]
fn a_link_that_starts_without_redis_joins_when_it_comes() {
    run(async {
        let mut redis = Redis::start(&[]).await;
        redis.kill().await;
        let recorder = Recorder::new();
        let mut options = options(redis.url(), &recorder);
        options.start_without_redis = true;
        let link = Link::open(options).await.unwrap();
        link.subscribe(channel("c"));
        for number in 0..100 {
            link.publish(Space::Classic, "c", numbered(number)).unwrap();
        }
        assert_eq!(link.subscribers(Space::Classic, "c").await, Err(LinkError::Down));
        redis.restart().await;
        link.settled().await;
        let subscriptions = recorder
            .event(|event| match event {
                RedisEvent::Connected { subscriptions } => Some(*subscriptions),
                _ => None,
            })
            .await;
        assert_eq!(subscriptions, 1);
        recorder.received(100).await;
        assert!(recorder.numbers().into_iter().eq(0..100));
        link.close().await;
    });
}

#[test]
fn a_subscription_asked_for_while_redis_is_away_settles_when_it_is_back() {
    run(async {
        let mut redis = Redis::start(&[]).await;
        let recorder = Recorder::new();
        let link = Link::open(options(redis.url(), &recorder)).await.unwrap();
        link.subscribe(channel("gone"));
        link.settled().await;
        redis.kill().await;
        lost(&recorder, RedisConnection::Subscriber).await;
        link.subscribe(channel("new"));
        link.unsubscribe(channel("gone"));
        redis.restart().await;
        link.settled().await;
        assert_eq!((redis.subscribers("new").await, redis.subscribers("gone").await), (1, 0));
        link.close().await;
    });
}

#[test]
fn what_was_confirmed_does_not_settle_anything_while_redis_is_away() {
    run(async {
        let mut redis = Redis::start(&[]).await;
        let recorder = Recorder::new();
        let link = Link::open(options(redis.url(), &recorder)).await.unwrap();
        link.subscribe(channel("c"));
        link.settled().await;
        redis.kill().await;
        lost(&recorder, RedisConnection::Subscriber).await;
        let mut settled = std::pin::pin!(link.settled());
        tokio::select! {
            biased;
            () = &mut settled => panic!("there is nobody who could have confirmed anything"),
            () = std::future::ready(()) => {}
        }
        redis.restart().await;
        settled.await;
        assert_eq!(redis.subscribers("c").await, 1);
        link.close().await;
    });
}

/// A link whose publisher is back after a loss while its subscriber is not let in, with messages that rest until it is.
async fn resting(redis: &Redis, recorder: &Arc<Recorder>) -> Link {
    let link = Link::open(options(redis.url(), recorder)).await.unwrap();
    link.subscribe(channel("c"));
    link.settled().await;
    redis.ask(&["ACL", "SETUSER", "default", "-subscribe"]).await;
    redis.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    redis.ask(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    for _ in 0..2 {
        recorder.event(|event| matches!(event, RedisEvent::Lost { .. }).then_some(())).await;
    }
    for number in 0..10 {
        link.publish(Space::Classic, "c", numbered(number)).unwrap();
    }
    // The publisher stands when its name is on the list.
    while !redis.connections().await.iter().any(|name| name.contains("publisher")) {}
    link
}

#[test]
fn nodes_are_counted_while_messages_rest() {
    run(async {
        let redis = Redis::start(&[]).await;
        let recorder = Recorder::new();
        let link = resting(&redis, &recorder).await;
        // It is up a moment after it is listed.
        let count = loop {
            match link.subscribers(Space::Classic, "c").await {
                Err(LinkError::Down) => tokio::task::yield_now().await,
                count => break count,
            }
        };
        assert_eq!(count, Ok(0));
        assert_eq!(link.stats().confirmed, 0, "they rest");
        link.close().await;
    });
}

#[test]
fn what_rests_is_sent_when_the_link_is_closed() {
    run(async {
        let redis = Redis::start(&[]).await;
        let recorder = Recorder::new();
        let link = resting(&redis, &recorder).await;
        while link.subscribers(Space::Classic, "c").await.is_err() {
            tokio::task::yield_now().await;
        }
        link.close().await;
        assert_eq!((link.stats().confirmed, link.stats().dropped), (10, 0));
    });
}
