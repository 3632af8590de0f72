//! Conditional appends to UmaDB: `umadb-driver URL PREFIX RECORDS RECORD_BYTES STREAMS IN_FLIGHT CONNECTIONS`, one JSON line.
//! Every task owns its streams and appends one event at a time with the condition "no event of this stream after the last one I wrote";
//! streams are named PREFIX-N.
//! At the end every event is read back, in order, and counted. Latency is that of one append, in milliseconds.
use futures::StreamExt;
use std::time::Instant;
use umadb_client::UmaDbClient;
use umadb_dcb::{DcbAppendCondition, DcbEvent, DcbEventStoreAsync, DcbQuery, DcbQueryItem};

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn argument(index: usize) -> usize {
    std::env::args()
        .nth(index)
        .and_then(|text| text.parse().ok())
        .expect("URL PREFIX RECORDS RECORD_BYTES STREAMS IN_FLIGHT CONNECTIONS")
}

async fn append_share<Store: DcbEventStoreAsync>(
    store: &Store,
    prefix: &str,
    worker: usize,
    share: usize,
    in_flight: usize,
    streams: usize,
    record_bytes: usize,
) -> Result<Vec<f64>, Failure> {
    let own = streams / in_flight;
    let mut last: Vec<Option<u64>> = vec![None; own];
    let mut latencies = Vec::with_capacity(share);
    for turn in 0..share {
        let at = turn % own;
        let tag = format!("{prefix}-{}", at * in_flight + worker);
        let event = DcbEvent::default()
            .event_type("measured")
            .tags([tag.clone()])
            .data(vec![b'v'; record_bytes]);
        let condition = DcbAppendCondition {
            fail_if_events_match: DcbQuery::new().item(DcbQueryItem::new().tags([tag])),
            after: last[at],
        };
        let started = Instant::now();
        last[at] = Some(store.append(vec![event], Some(condition), None).await?);
        latencies.push(started.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(latencies)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let url = std::env::args().nth(1).expect("URL");
    let prefix = std::env::args().nth(2).expect("PREFIX");
    let (records, record_bytes, streams, in_flight, connections) =
        (argument(3), argument(4), argument(5), argument(6), argument(7));
    let mut clients = Vec::new();
    for _ in 0..connections {
        clients.push(std::sync::Arc::new(
            UmaDbClient::new(url.clone()).connect_async().await?,
        ));
    }
    let share = records / in_flight;
    let started = Instant::now();
    let tasks: Vec<_> = (0..in_flight)
        .map(|worker| {
            let store = clients[worker % connections].clone();
            let prefix = prefix.clone();
            tokio::spawn(async move {
                append_share(&*store, &prefix, worker, share, in_flight, streams, record_bytes).await
            })
        })
        .collect();
    let mut latencies = Vec::with_capacity(records);
    for task in tasks {
        latencies.extend(task.await??);
    }
    let seconds = started.elapsed().as_secs_f64();
    latencies.sort_by(f64::total_cmp);

    let mut read_back = 0usize;
    let mut previous = None;
    let mut events = clients[0].read(None, None, false, None).await?;
    while let Some(event) = events.next().await {
        let event = event?;
        if previous.is_some_and(|position| event.position <= position) || event.event.data.len() != record_bytes {
            return Err("an event came back out of order or with another size".into());
        }
        previous = Some(event.position);
        if event.event.tags.iter().any(|tag| tag.starts_with(&prefix)) {
            read_back += 1;
        }
    }
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    println!(
        "{{\"records\":{},\"seconds\":{},\"readBack\":{},\"latencyMs\":{{\"p50\":{},\"p95\":{},\"p99\":{},\"max\":{}}}}}",
        latencies.len(), seconds, read_back, at(0.5), at(0.95), at(0.99), at(1.0)
    );
    Ok(())
}
