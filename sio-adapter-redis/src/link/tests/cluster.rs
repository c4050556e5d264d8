//! Several servers: a cluster, and one behind sentinels.

use std::time::Duration;

use fred::types::{cluster::ClusterRouting, config::Server};

use super::{
    super::{RedisConnection, resp::Value, shared::Shared},
    redis::{Redis, free_port},
    *,
};

/// Three masters that share the slots.
struct Cluster {
    nodes: Vec<Redis>,
    ids: Vec<String>,
}

impl Cluster {
    async fn start() -> Self {
        let mut nodes = Vec::new();
        let mut ids = Vec::new();
        for _ in 0..3 {
            let node = Redis::start(&["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"]).await;
            ids.push(node.ask(&["CLUSTER", "MYID"]).await.text().unwrap().to_owned());
            nodes.push(node);
        }
        for (node, (first, last)) in nodes.iter().zip([("0", "5460"), ("5461", "10922"), ("10923", "16383")])
        {
            node.ask(&["CLUSTER", "ADDSLOTSRANGE", first, last]).await;
        }
        for node in &nodes[1..] {
            node.ask(&["CLUSTER", "MEET", "127.0.0.1", &nodes[0].port.to_string()]).await;
        }
        let cluster = Self { nodes, ids };
        for node in &cluster.nodes {
            while !node.ask(&["CLUSTER", "INFO"]).await.text().unwrap().contains("cluster_state:ok") {}
        }
        cluster
    }

    fn url(&self) -> String {
        format!("redis-cluster://127.0.0.1:{}", self.nodes[0].port)
    }

    /// Moves a slot without keys from one master to another, in the order that Redis asks for.
    async fn give(&self, slot: u16, from: usize, to: usize) {
        let slot = slot.to_string();
        let set = async |at: usize, state: &str, id: usize| {
            let done = self.nodes[at].ask(&["CLUSTER", "SETSLOT", &slot, state, &self.ids[id]]).await;
            assert_eq!(done.text(), Some("OK"), "{done:?}");
        };
        set(to, "IMPORTING", from).await;
        set(from, "MIGRATING", to).await;
        set(to, "NODE", to).await;
        set(from, "NODE", to).await;
        set(3 - from - to, "NODE", to).await;
    }

    /// Counts the subscriptions to a shard's channel on all masters.
    async fn subscribers(&self, channel: &str) -> i64 {
        let mut sum = 0;
        for node in &self.nodes {
            let answer = node.ask(&["PUBSUB", "SHARDNUMSUB", channel]).await;
            sum += answer.get(channel).and_then(Value::number).unwrap_or_default();
        }
        sum
    }
}

fn owner(shared: &Shared, channel: &str) -> Option<Server> {
    let directory = shared.directory();
    directory.routing.as_ref()?.get_server(ClusterRouting::hash_key(channel.as_bytes())).cloned()
}

#[test]
fn classic_messages_cross_a_cluster_and_subscribers_are_summed() {
    run(async {
        let cluster = Cluster::start().await;
        let recorders = [Recorder::new(), Recorder::new()];
        let mut links = Vec::new();
        for recorder in &recorders {
            let link = Link::open(options(cluster.url(), recorder)).await.unwrap();
            link.subscribe(channel("count"));
            link.subscribe(pattern("io#/#*"));
            link.settled().await;
            links.push(link);
        }
        // Node subscribes wherever it likes: one more on another master.
        let other = Recorder::new();
        let elsewhere = Link::open(options(cluster.nodes[2].url(), &other)).await.unwrap();
        elsewhere.subscribe(channel("count"));
        elsewhere.settled().await;
        assert_eq!(links[0].subscribers(Space::Classic, "count").await, Ok(3));
        for number in 0..1000 {
            links[0].publish(Space::Classic, "io#/#", numbered(number)).unwrap();
        }
        for recorder in &recorders {
            recorder.received(1000).await;
            assert!(recorder.numbers().into_iter().eq(0..1000));
        }
        elsewhere.publish(Space::Classic, "io#/#", numbered(1000)).unwrap();
        recorders[1].received(1001).await;
        for link in links {
            link.close().await;
        }
        elsewhere.close().await;
    });
}

#[test]
fn sharded_messages_go_to_the_masters_of_their_channels() {
    run(async {
        let cluster = Cluster::start().await;
        let recorder = Recorder::new();
        let mut options = options(cluster.url(), &recorder);
        options.space = Space::Sharded;
        let link = Link::open(options).await.unwrap();
        let names: Vec<String> = (0..300).map(|number| format!("room-{number}")).collect();
        for name in &names {
            link.subscribe(shard(name));
        }
        link.settled().await;
        for round in 0..10 {
            for (at, name) in names.iter().enumerate() {
                link.publish(Space::Sharded, name, numbered(round * 1000 + at as u64)).unwrap();
            }
        }
        recorder.received(3000).await;
        // Each channel has all of its own in order.
        let messages = std::mem::take(&mut *recorder.messages.lock().unwrap());
        for (at, name) in names.iter().enumerate() {
            let own =
                messages.iter().filter(|(channel, _)| channel == name).map(|(_, message)| number(message));
            assert!(own.eq((0..10).map(|round| round * 1000 + at as u64)), "{name}");
        }
        assert_eq!(link.subscribers(Space::Sharded, "room-7").await, Ok(1));
        link.close().await;
        assert_eq!(cluster.subscribers("room-7").await, 0);
    });
}

#[test]
fn a_slot_that_moves_takes_its_subscription_and_its_messages_along() {
    run(async {
        let cluster = Cluster::start().await;
        let recorder = Recorder::new();
        let mut options = options(cluster.url(), &recorder);
        options.space = Space::Sharded;
        let link = Link::open(options).await.unwrap();
        link.subscribe(shard("moving"));
        link.settled().await;
        let before = owner(&link.shared, "moving").unwrap();
        let at = cluster.nodes.iter().position(|node| node.port == before.port).unwrap();
        let slot = ClusterRouting::hash_key(b"moving");
        cluster.give(slot, at, (at + 1) % 3).await;
        // Redis has taken the subscription back: it must return without anybody asking.
        while cluster.subscribers("moving").await != 1
            || owner(&link.shared, "moving") == Some(before.clone())
        {}
        link.settled().await;
        for number in 0..100 {
            link.publish(Space::Sharded, "moving", numbered(number)).unwrap();
        }
        recorder.received(100).await;
        // Once more, with only the publisher to notice: a link that is not subscribed.
        let mut blind = LinkOptions { space: Space::Sharded, ..super::options(cluster.url(), &recorder) };
        blind.probe_interval = Duration::from_secs(60);
        let blind = Link::open(blind).await.unwrap();
        cluster.give(slot, (at + 1) % 3, (at + 2) % 3).await;
        let now = &cluster.nodes[(at + 2) % 3];
        while now.ask(&["PUBSUB", "SHARDCHANNELS", "moving"]).await == Value::List(Vec::new()) {}
        for number in 100..1100 {
            blind.publish(Space::Sharded, "moving", numbered(number)).unwrap();
        }
        recorder.received(1100).await;
        assert_eq!(recorder.numbers(), Vec::from_iter(0..1100));
        assert_eq!((blind.stats().rejected, blind.stats().unconfirmed), (0, 0));
        blind.close().await;
        link.close().await;
    });
}

#[test]
fn a_master_that_dies_is_replaced_by_its_replica() {
    run(async {
        let mut cluster = Cluster::start().await;
        let replica = Redis::start(&["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"]).await;
        let first = cluster.nodes[0].port.to_string();
        replica.ask(&["CLUSTER", "MEET", "127.0.0.1", &first]).await;
        while replica.ask(&["CLUSTER", "REPLICATE", &cluster.ids[0]]).await.text() != Some("OK") {}
        while !replica.ask(&["INFO", "replication"]).await.text().unwrap().contains("master_link_status:up") {
        }
        let recorder = Recorder::new();
        let link = Link::open(LinkOptions { space: Space::Sharded, ..options(cluster.url(), &recorder) })
            .await
            .unwrap();
        let names: Vec<String> = (0..60).map(|number| format!("room-{number}")).collect();
        for name in &names {
            link.subscribe(shard(name));
        }
        link.subscribe(channel("classic"));
        link.settled().await;
        // The only one that is configured, and the one with what is classic.
        cluster.nodes[0].kill().await;
        let servers = recorder
            .event(|event| match event {
                RedisEvent::TopologyChanged { servers } => Some(servers.clone()),
                _ => None,
            })
            .await;
        assert!(
            servers.contains(&format!("127.0.0.1:{}", replica.port)) && servers.len() == 3,
            "{servers:?}"
        );
        assert!(link.stats().topology_changes > 0);
        recorder.restored().await;
        link.settled().await;
        for (at, name) in names.iter().enumerate() {
            link.publish(Space::Sharded, name, numbered(at as u64)).unwrap();
        }
        link.publish(Space::Classic, "classic", numbered(60)).unwrap();
        recorder.received(61).await;
        let mut numbers = recorder.numbers();
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..61));
        assert_eq!(link.subscribers(Space::Classic, "classic").await, Ok(1));
        link.close().await;
    });
}

#[test]
fn a_cluster_that_is_not_there_is_an_error_in_time() {
    run(async {
        let recorder = Recorder::new();
        let port = free_port();
        let url = format!("redis-cluster://127.0.0.1:{port}");
        let before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let mut options = options(url, &recorder);
        options.connect_timeout = Duration::from_millis(500);
        let error = Link::open(options).await.err().unwrap();
        assert!(
            matches!(&error, ConnectError::Unreachable { server, .. } if server.contains(&port.to_string())),
            "{error}"
        );
        while tokio::runtime::Handle::current().metrics().num_alive_tasks() > before {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn the_master_is_the_one_the_sentinels_name_also_after_a_failover() {
    run(async {
        let mut master = Redis::start(&[]).await;
        let replica = Redis::start(&["--replicaof", "127.0.0.1", &master.port.to_string()]).await;
        let port = free_port();
        let directory = std::env::temp_dir().join(format!("sio-sentinel-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("sentinel.conf");
        let configuration = format!(
            "port {port}\nsentinel monitor mymaster 127.0.0.1 {} 1\nsentinel down-after-milliseconds mymaster 500\n\
             sentinel failover-timeout mymaster 3000\n",
            master.port
        );
        std::fs::write(&path, configuration).unwrap();
        let _sentinel = Redis::start(&[path.to_str().unwrap(), "--sentinel"]).await;
        let recorder = Recorder::new();
        let url = format!("redis-sentinel://127.0.0.1:{port}?sentinelServiceName=mymaster");
        let mut options = options(url, &recorder);
        options.connect_timeout = Duration::from_secs(10);
        let link = Link::open(options).await.unwrap();
        link.subscribe(channel("c"));
        link.settled().await;
        assert_eq!((master.subscribers("c").await, replica.subscribers("c").await), (1, 0));
        // The sentinel has to have found the replica, else there is nobody to take over.
        let sentinel = Redis::at(port);
        while !matches!(sentinel.ask(&["SENTINEL", "REPLICAS", "mymaster"]).await, Value::List(list) if !list.is_empty())
        {
        }
        master.kill().await;
        recorder
            .event(|event| match event {
                RedisEvent::Lost { connection: RedisConnection::Subscriber, .. } => Some(()),
                _ => None,
            })
            .await;
        link.publish(Space::Classic, "c", numbered(0)).unwrap();
        recorder.restored().await;
        recorder.received(1).await;
        assert_eq!(replica.subscribers("c").await, 1);
        link.close().await;
        let _ = std::fs::remove_dir_all(&directory);
    });
}
