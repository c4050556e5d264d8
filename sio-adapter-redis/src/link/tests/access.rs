//! Who may log in and what a user may do.

use std::time::Duration;

use fred::{
    clients::Client,
    types::config::{Config, ServerConfig},
};

use super::{redis::Redis, *};

async fn refusal(target: impl Into<RedisTarget>) -> ConnectError {
    let recorder = Recorder::new();
    let mut options = options(target, &recorder);
    // A permanent refusal is an error at once, also for who can start without Redis.
    options.start_without_redis = true;
    options.connect_timeout = Duration::from_secs(30);
    Link::open(options).await.err().expect("let in")
}

#[test]
fn a_wrong_password_is_a_clear_error_and_a_right_one_works() {
    run(async {
        let redis = Redis::start(&["--requirepass", "secret"]).await;
        let url = |login: &str| format!("redis://{login}127.0.0.1:{}", redis.port);
        for (login, text) in [(":wrong@", "WRONGPASS"), ("nobody:secret@", "WRONGPASS"), ("", "NOAUTH")] {
            let error = refusal(url(login)).await;
            assert!(error.is_permanent());
            assert!(matches!(&error, ConnectError::Denied { error, .. } if error.contains(text)), "{error}");
            assert!(
                error.to_string().contains("does not let us in") && !error.to_string().contains("wrong@"),
                "{error}"
            );
        }
        let recorder = Recorder::new();
        let link = Link::open(options(url(":secret@"), &recorder)).await.unwrap();
        link.close().await;
    });
}

#[test]
fn a_url_that_is_none_is_a_clear_error_without_the_password() {
    run(async {
        for url in [
            "",
            "redis:",
            "http://user:hidden@host",
            "redis://:hidden@host:99999999",
            "rediss+x://:hidden@host",
        ] {
            let error = refusal(url).await;
            assert!(!error.to_string().contains("hidden"), "{error}");
            assert!(matches!(error, ConnectError::Config(_)), "{url}: {error:?}");
        }
    });
}

#[test]
fn a_configuration_and_a_client_of_fred_will_do() {
    run(async {
        let redis = Redis::start(&["--requirepass", "secret"]).await;
        let config = Config {
            server: ServerConfig::new_centralized("127.0.0.1", redis.port),
            password: Some("secret".to_owned()),
            ..Config::default()
        };
        let client = Client::new(config.clone(), None, None, None);
        for target in [RedisTarget::from(config), RedisTarget::from(client)] {
            let recorder = Recorder::new();
            let link = Link::open(options(target, &recorder)).await.unwrap();
            link.close().await;
        }
    });
}

/// Opens a link as a user who may do what `rules` say.
async fn with_rules(rules: &[&str]) -> (Redis, Result<Link, ConnectError>, Arc<Recorder>) {
    let redis =
        Redis::start(&["--user", "default", "on", "nopass", "allcommands", "allchannels", "allkeys"]).await;
    let mut command = vec!["ACL", "SETUSER", "app", "on", ">secret", "+@all", "allkeys", "resetchannels"];
    command.extend(rules);
    redis.ask(&command).await;
    let recorder = Recorder::new();
    let link = Link::open(options(format!("redis://app:secret@127.0.0.1:{}", redis.port), &recorder)).await;
    (redis, link, recorder)
}

#[test]
fn a_server_that_is_too_old_is_named_with_what_it_lacks() {
    run(async {
        for (lacks, space) in [("HELLO", Space::Classic), ("SSUBSCRIBE", Space::Sharded)] {
            let redis = Redis::start(&["--rename-command", lacks, ""]).await;
            let recorder = Recorder::new();
            let options = LinkOptions { space, ..options(redis.url(), &recorder) };
            let error = Link::open(options).await.err().unwrap();
            assert!(matches!(error, ConnectError::TooOld { command, .. } if command == lacks), "{error}");
        }
    });
}

#[test]
fn a_user_without_the_channels_is_told_which_command_failed() {
    run(async {
        let (_redis, link, _) = with_rules(&["&other*"]).await;
        let error = link.err().unwrap();
        assert!(
            matches!(&error, ConnectError::Forbidden { error, .. } if error.contains("SUBSCRIBE")),
            "{error}"
        );
        let (_redis, link, _) = with_rules(&["allchannels", "-publish"]).await;
        let error = link.err().unwrap();
        assert!(
            matches!(&error, ConnectError::Forbidden { error, .. } if error.contains("PUBLISH")),
            "{error}"
        );
    });
}

#[test]
fn a_subscription_and_a_publish_that_are_refused_are_told_and_cost_nothing_else() {
    run(async {
        let (redis, link, recorder) = with_rules(&["&socket.io*"]).await;
        let link = link.unwrap();
        link.subscribe(channel("forbidden"));
        link.subscribe(channel("socket.io#/#"));
        link.subscribe(channel("socket.io#/x#"));
        link.settled().await;
        let topic = recorder
            .event(|event| match event {
                RedisEvent::SubscriptionRejected { topic, error } if error.contains("NOPERM") => {
                    Some(topic.clone())
                }
                _ => None,
            })
            .await;
        assert_eq!(topic, "forbidden");
        let counts = [redis.subscribers("socket.io#/#").await, redis.subscribers("socket.io#/x#").await];
        assert_eq!(counts, [1, 1]);
        for channel in ["forbidden", "socket.io#/#", "forbidden", "socket.io#/x#"] {
            link.publish(Space::Classic, channel, numbered(0)).unwrap();
        }
        recorder.received(2).await;
        let event = |event: &RedisEvent| matches!(event, RedisEvent::PublishRejected { .. }).then_some(());
        recorder.event(event).await;
        let stats = link.stats();
        assert_eq!((stats.rejected, stats.rejected_subscriptions, stats.lost), (2, 1, 0));
        link.close().await;
        assert_eq!(link.stats().confirmed, 2);
    });
}

#[test]
fn a_user_who_may_not_look_for_old_connections_is_served_as_well() {
    run(async {
        let (redis, link, recorder) = with_rules(&["allchannels", "-client|list", "-client|kill"]).await;
        let link = link.unwrap();
        link.subscribe(channel("c"));
        link.settled().await;
        redis.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
        recorder.restored().await;
        assert_eq!(redis.subscribers("c").await, 1);
        link.close().await;
    });
}

#[cfg(feature = "tls")]
#[test]
fn messages_pass_through_tls_and_an_unknown_certificate_is_refused() {
    use fred::types::config::TlsConnector;
    use tokio_rustls::rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer};

    run(async {
        let redis = Redis::start_with_tls().await;
        let url = format!("rediss://localhost:{}", redis.port);
        let recorder = Recorder::new();
        let mut strict = options(url.as_str(), &recorder);
        strict.connect_timeout = Duration::from_millis(500);
        let error = Link::open(strict).await.err().unwrap();
        assert!(error.to_string().contains("certificate"), "{error}");
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(redis.read("certificate.der"))).unwrap();
        let tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let mut config = Config::from_url(&url).unwrap();
        config.tls = Some(TlsConnector::from(tls).into());
        let link = Link::open(options(config, &recorder)).await.unwrap();
        link.subscribe(channel("c"));
        link.settled().await;
        for number in 0..10_000 {
            link.publish(Space::Classic, "c", numbered(number)).unwrap();
        }
        link.publish(Space::Classic, "c", Bytes::from("0".repeat(1_000_000))).unwrap();
        recorder.received(10_001).await;
        assert!(recorder.numbers().into_iter().take(10_000).eq(0..10_000));
        link.close().await;
    });
}

#[cfg(not(feature = "tls"))]
#[test]
fn tls_without_the_feature_is_a_clear_error() {
    run(async {
        let error = refusal("rediss://127.0.0.1:1").await;
        assert!(error.to_string().contains("feature"), "{error}");
    });
}
