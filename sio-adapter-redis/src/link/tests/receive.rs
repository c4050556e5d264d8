//! What is published arrives: all of it, once, in order.

use std::time::Duration;

use super::{super::LostReason, redis::Redis, *};

#[test]
fn a_hundred_thousand_messages_at_full_speed_all_arrive_in_order() {
    run(async {
        let redis = Redis::start(&[]).await;
        let recorder = Recorder::new();
        let link = Link::open(options(redis.url(), &recorder)).await.unwrap();
        link.subscribe(pattern("io#/#*"));
        link.settled().await;
        redis.blast("io#/#room#", 100_000, 100).await;
        recorder.received(100_000).await;
        assert!(recorder.numbers().iter().copied().eq(0..100_000));
        let stats = link.stats();
        assert_eq!((stats.received, stats.lost, stats.duplicates), (100_000, 0, 0));
        link.close().await;
    });
}

#[test]
fn what_a_link_publishes_at_full_speed_all_arrives_in_order() {
    run(async {
        let redis = Redis::start(&[]).await;
        let recorder = Recorder::new();
        let link = Link::open(options(redis.url(), &recorder)).await.unwrap();
        link.subscribe(channel("c"));
        link.settled().await;
        for number in 0..100_000 {
            link.publish(Space::Classic, "c", numbered(number)).unwrap();
        }
        recorder.received(100_000).await;
        assert!(recorder.numbers().iter().copied().eq(0..100_000));
        link.close().await;
        let stats = link.stats();
        assert_eq!((stats.published, stats.confirmed, stats.queued_bytes), (100_000, 100_000, 0));
    });
}

#[test]
fn small_and_large_messages_arrive_whole_and_in_order() {
    run(async {
        let redis = Redis::start(&[]).await;
        let recorder = Recorder::new();
        let link = Link::open(options(redis.url(), &recorder)).await.unwrap();
        link.subscribe(channel("c"));
        link.settled().await;
        let sizes = [0, 1, 16_383, 16_384, 3, 1_000_000, 65_536, 2, 5_000_000, 0, 262_144];
        let text = |size: usize| (0..size).map(|at| char::from(b'a' + (at % 23) as u8)).collect::<String>();
        for size in sizes {
            link.publish(Space::Classic, "c", text(size).into()).unwrap();
        }
        recorder.received(sizes.len()).await;
        assert!(recorder.texts().into_iter().eq(sizes.into_iter().map(text)));
        link.close().await;
    });
}

#[test]
fn a_message_that_matches_several_subscriptions_arrives_once_each_time() {
    run(async {
        let redis = Redis::start(&[]).await;
        let recorder = Recorder::new();
        let link = Link::open(options(redis.url(), &recorder)).await.unwrap();
        for topic in [pattern("io#/a#*"), pattern("io#/a#b#*"), channel("io#/a#b#c#"), pattern("io#/z#*")] {
            link.subscribe(topic);
        }
        link.settled().await;
        let channels = ["io#/a#b#c#", "io#/a#b#c#", "io#/a#b#", "io#/a#", "io#/z#", "io#/z#"];
        for channel in channels {
            link.publish(Space::Classic, channel, Bytes::from_static(b"m")).unwrap();
        }
        recorder.received(channels.len()).await;
        // Whatever is still to come has come when a later message has.
        link.subscribe(channel("last"));
        link.settled().await;
        link.publish(Space::Classic, "last", Bytes::new()).unwrap();
        recorder.received(channels.len() + 1).await;
        let arrived: Vec<_> =
            recorder.messages.lock().unwrap().iter().map(|(channel, _)| channel.clone()).collect();
        assert!(arrived.iter().eq(channels.iter().chain(&["last"])));
        assert_eq!(link.stats().duplicates, 2 + 2 + 1);
        link.close().await;
    });
}

#[test]
fn topics_are_counted_once_however_often_asked_and_not_after() {
    run(async {
        let redis = Redis::start(&[]).await;
        let recorder = Recorder::new();
        let link = Link::open(options(redis.url(), &recorder)).await.unwrap();
        link.subscribe(channel("c"));
        link.subscribe(channel("c"));
        link.settled().await;
        assert_eq!(link.subscribers(Space::Classic, "c").await, Ok(1));
        assert_eq!(link.subscribers(Space::Classic, "other").await, Ok(0));
        let second = Link::open(options(redis.url(), &recorder)).await.unwrap();
        second.subscribe(channel("c"));
        second.settled().await;
        assert_eq!(link.subscribers(Space::Classic, "c").await, Ok(2));
        second.close().await;
        assert_eq!(link.subscribers(Space::Classic, "c").await, Ok(1), "close returned before Redis knew");
        link.unsubscribe(channel("c"));
        link.settled().await;
        assert_eq!(redis.subscribers("c").await, 0);
        link.close().await;
    });
}

#[test]
fn sharded_channels_work_on_a_single_server() {
    run(async {
        let redis = Redis::start(&[]).await;
        let recorder = Recorder::new();
        let mut options = options(redis.url(), &recorder);
        options.space = Space::Sharded;
        let link = Link::open(options).await.unwrap();
        for number in 0..1000 {
            link.subscribe(shard(&format!("room-{number}")));
        }
        link.settled().await;
        link.publish(Space::Classic, "room-7", Bytes::from_static(b"another space")).unwrap();
        for number in 0..1000 {
            link.publish(Space::Sharded, &format!("room-{number}"), numbered(number)).unwrap();
        }
        recorder.received(1000).await;
        assert!(recorder.numbers().into_iter().eq(0..1000));
        assert_eq!(link.subscribers(Space::Sharded, "room-7").await, Ok(1));
        link.close().await;
    });
}

#[test]
fn a_message_that_is_too_large_is_skipped_and_told() {
    run(async {
        let redis = Redis::start(&[]).await;
        let recorder = Recorder::new();
        let mut options = options(redis.url(), &recorder);
        options.max_read_ahead = 100_000;
        let link = Link::open(options).await.unwrap();
        link.subscribe(channel("c"));
        link.settled().await;
        for size in [10, 1_000_000, 99_000, 100_000, 11] {
            link.publish(Space::Classic, "c", Bytes::from("y".repeat(size))).unwrap();
        }
        for _ in 0..2 {
            recorder
                .event(|event| {
                    matches!(event, RedisEvent::MessageTooLarge { limit: 100_000, .. }).then_some(())
                })
                .await;
        }
        recorder.received(3).await;
        assert!(recorder.texts().iter().map(String::len).eq([10, 99_000, 11]));
        assert_eq!((link.stats().oversized, link.stats().lost), (2, 0));
        link.close().await;
    });
}

#[test]
fn a_channel_whose_name_is_no_text_is_counted_and_dropped() {
    run(async {
        let redis = Redis::start(&[]).await;
        let recorder = Recorder::new();
        let link = Link::open(options(redis.url(), &recorder)).await.unwrap();
        link.subscribe(pattern("c*"));
        link.settled().await;
        redis.ask_bytes(&[b"PUBLISH", b"c\xff", b"x"]).await;
        redis.ask(&["PUBLISH", "c", "y"]).await;
        recorder.received(1).await;
        assert_eq!((recorder.texts(), link.stats().unreadable), (vec!["y".to_owned()], 1));
        link.close().await;
    });
}

/// A receiver whose first message takes until somebody lets it go on.
struct Slow {
    gate: Mutex<std::sync::mpsc::Receiver<()>>,
    recorder: Arc<Recorder>,
}

impl Receiver for Slow {
    fn receive(&self, channel: &str, message: Bytes) {
        if number(&message) == 0 {
            // Its thread may be the one that watches the sockets, which another one has to do then.
            tokio::task::block_in_place(|| self.gate.lock().unwrap().recv().unwrap());
        }
        self.recorder.receive(channel, message);
    }

    fn changed(&self, event: &RedisEvent) {
        self.recorder.changed(event);
    }
}

/// Opens a link with a slow receiver and has 100,000 messages published meanwhile. Returns the numbers that arrived.
fn overrun(redis_buffer: &str) -> (Vec<u64>, super::super::Stats, Option<LostReason>) {
    // The receiver blocks its thread, so that the test needs another.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let test = async {
        let redis = Redis::start(&["--client-output-buffer-limit", "pubsub", redis_buffer, "0", "0"]).await;
        let recorder = Recorder::new();
        let (go_on, gate) = std::sync::mpsc::channel();
        let slow: Arc<dyn Receiver> = Arc::new(Slow { gate: Mutex::new(gate), recorder: recorder.clone() });
        let mut options = options(redis.url(), &recorder);
        options.receiver = Arc::downgrade(&slow);
        let link = Link::open(options).await.unwrap();
        link.subscribe(channel("c"));
        link.settled().await;
        redis.blast("c", 100_000, 200).await;
        go_on.send(()).unwrap();
        let lost = async {
            recorder
                .event(|event| match event {
                    RedisEvent::Lost { reason, .. } => Some(reason.clone()),
                    _ => None,
                })
                .await
        };
        let reason = tokio::select! {
            reason = lost => {
                recorder.restored().await;
                Some(reason)
            }
            () = recorder.received(100_000) => None,
        };
        let stats = link.stats();
        link.close().await;
        let numbers = recorder.numbers();
        (numbers, stats, reason)
    };
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(60), test).await.expect("the test hangs")
    })
}

#[test]
fn a_receiver_that_stands_still_for_a_burst_gets_all_of_it_later() {
    if skipped() {
        return;
    }
    let (numbers, stats, reason) = overrun("64mb");
    assert_eq!((reason, stats.overruns), (None, 0));
    assert!(numbers.into_iter().eq(0..100_000));
}

#[test]
fn being_cut_off_by_redis_has_a_name_and_is_mended() {
    if skipped() {
        return;
    }
    let (numbers, stats, reason) = overrun("1mb");
    assert_eq!((reason, stats.overruns, stats.restored), (Some(LostReason::Overrun), 1, 1));
    assert!(numbers.len() < 100_000);
    let expected = 0..numbers.len() as u64;
    assert!(numbers.into_iter().eq(expected), "what did arrive has a gap");
}

/// A receiver that panics at every other message and at every event.
struct Panicking(Arc<Recorder>);

impl Receiver for Panicking {
    fn receive(&self, channel: &str, message: Bytes) {
        assert!(number(&message).is_multiple_of(2), "on purpose");
        self.0.receive(channel, message);
    }

    fn changed(&self, _: &RedisEvent) {
        panic!("on purpose");
    }
}

#[test]
fn a_panic_in_the_receiver_costs_one_message() {
    run(async {
        let redis = Redis::start(&[]).await;
        let recorder = Recorder::new();
        let panicking: Arc<dyn Receiver> = Arc::new(Panicking(recorder.clone()));
        let mut options = options(redis.url(), &recorder);
        options.receiver = Arc::downgrade(&panicking);
        let link = Link::open(options).await.unwrap();
        link.subscribe(channel("c"));
        link.settled().await;
        for number in 0..10 {
            link.publish(Space::Classic, "c", numbered(number)).unwrap();
        }
        recorder.received(5).await;
        assert_eq!(recorder.numbers(), [0, 2, 4, 6, 8]);
        assert_eq!(link.stats().lost, 0);
        link.close().await;
        assert_eq!(link.stats().panics, 5 + 2, "connected and closed are events");
    });
}
