/**
 * Metrics: what the broker's parts have counted in plain numbers, published for Prometheus. Invariant: everything is read at a scrape;
 * nothing here is on a request's path. Each metric is one row of a table. Called by http/routes/metrics.ts.
 */
import { Counter, Gauge, Registry } from 'prom-client'
import type { LogStore } from '../storage/log-store.ts'
import type { Tier } from '../storage/tier/tier.ts'
import { addBucketMetric } from './bucket-metric.ts'
import { clusterMetrics } from './cluster-metrics.ts'
import type { Dispatch } from './dispatch.ts'
import { EventLoopFigures } from './event-loop-metrics.ts'
import type { Listener } from './listener.ts'
import { logMetricHelp, presentAmounts } from './log-metrics.ts'
import type { Services } from './request.ts'
import type { TlsFiles } from './security/tls-files.ts'
import { presentTierAmounts, tierMetricHelp } from './tier-metrics.ts'

type Sample = readonly [value: number, labels?: Readonly<Record<string, string>>]
type Source = () => Iterable<Sample>

const cacheHelp: Readonly<Record<string, string>> = {
  gets: 'Values asked of the cache of derived state.',
  puts: 'Values written to the cache of derived state.',
  transactions: 'Transactions of the cache.',
  failedTransactions: 'Transactions of the cache that could not be written.',
  badValues: 'Values found in the cache that were not what was written; they are made again from the log.',
}

export interface MetricsOptions {
  readonly services: Services
  readonly dispatch: Dispatch
  readonly listener: Listener
  readonly storage: () => LogStore['stats']
  /** Undefined while there is none. */
  readonly tier: () => Tier['stats'] | undefined
  readonly tls?: TlsFiles | undefined
}

export class Metrics {
  /** HTTP answers by status code; counted by HttpServer. */
  readonly httpAnswers = new Map<number, number>()
  readonly #registry = new Registry()
  readonly #eventLoop = new EventLoopFigures()

  constructor({ services, dispatch, listener, storage, tier, tls }: MetricsOptions) {
    this.#processMetrics(services)
    this.#connectionMetrics(listener)
    this.#apiMetrics(dispatch)
    this.#partitionMetrics(services)
    this.#logMetrics(services)
    this.#storageMetrics(storage)
    this.#tierMetrics(tier)
    this.#httpMetrics()
    this.#eventLoopMetrics()
    this.#securityMetrics(services)
    this.#clusterMetrics(services)
    if (tls !== undefined) this.#tlsMetrics(tls)
  }

  get contentType(): string {
    return this.#registry.contentType
  }

  close(): void {
    this.#eventLoop.close()
  }

  text(): Promise<string> {
    return this.#registry.metrics()
  }

  #processMetrics(services: Services): void {
    this.#gauge('process_resident_memory_bytes', 'Resident memory.', [], () => [[services.status().rssBytes]])
    this.#counter('process_cpu_seconds_total', 'CPU time, user and system.', [], () => [
      [services.status().cpuMs / 1000],
    ])
    this.#gauge('playhead_uptime_seconds', 'Since the start.', [], () => [[services.status().uptimeMs / 1000]])
    this.#gauge('playhead_problems', 'Things that are damaged or failing; /readyz names them.', [], () => [
      [services.problems().length],
    ])
  }

  #connectionMetrics(listener: Listener): void {
    const { stats, memory } = listener
    this.#gauge('playhead_connections', 'Open connections to the native port.', [], () => [[listener.connections]])
    this.#gauge('playhead_requests_in_flight', 'Requests of the native port that are not answered yet.', [], () => [
      [listener.inFlightRequests],
    ])
    this.#gauge('playhead_request_bytes', 'Bytes of requests that are arriving or unanswered.', [], () => [
      [memory.requests.takenBytes],
    ])
    this.#gauge('playhead_reply_bytes', 'Bytes of replies under way.', [], () => [[memory.replies.takenBytes]])
    const rows = [
      ['accepted', 'playhead_connections_accepted_total', 'Connections accepted.'],
      ['refused', 'playhead_connections_refused_total', 'Connections refused above connectionsMax.'],
      ['receivedBytes', 'playhead_received_bytes_total', 'Bytes received on the native port.'],
      ['sentBytes', 'playhead_sent_bytes_total', 'Bytes handed to the native port.'],
      ['malformedFrames', 'playhead_malformed_frames_total', 'Connections ended by a malformed frame.'],
      [
        'stalled',
        'playhead_connections_stalled_total',
        'Connections closed because they took nothing, or did not end a request, while memory was short.',
      ],
      ['pauses', 'playhead_connection_pauses_total', 'Times that a connection above its limits was not read from.'],
    ] as const
    for (const [key, name, help] of rows) this.#counter(name, help, [], () => [[stats[key]]])
  }

  #apiMetrics({ stats }: Dispatch): void {
    const rows = [
      ['requests', 'playhead_requests_total', 'Requests by api.', 1],
      ['failures', 'playhead_request_failures_total', 'Requests answered with an error, by api.', 1],
      ['totalMs', 'playhead_request_seconds_total', 'Time from request to reply, waits included, by api.', 1000],
    ] as const
    for (const [key, name, help, divisor] of rows) {
      this.#counter(name, help, ['api'], () => Object.entries(stats).map(([api, row]) => [row[key] / divisor, { api }]))
    }
  }

  #partitionMetrics({ partitions }: Services): void {
    const rows = [
      ['log_start_offset', 'First offset that is still there.'],
      ['high_watermark', 'Offsets below it are committed.'],
      ['log_end_offset', 'The next offset.'],
      ['size_bytes', 'Bytes of the log on disk.'],
      ['segments', 'Segments of the log.'],
      ['waiting_requests', 'Requests that wait for new events.'],
    ] as const
    for (const [key, help] of rows) {
      this.#gauge(`playhead_partition_${key}`, help, ['topic', 'partition'], function* () {
        for (const partition of partitions.all()) {
          const { log } = partition
          const values = {
            log_start_offset: log.logStartOffset,
            high_watermark: partition.highWatermark,
            log_end_offset: log.logEndOffset,
            size_bytes: log.sizeBytes,
            segments: log.segmentCount,
            waiting_requests: partition.waiting,
          }
          yield [values[key], { topic: partition.topic, partition: String(partition.partition) }]
        }
      })
    }
  }

  /** What logs count themselves, summed over all of them: `stats.appendedBytes` is playhead_log_appended_bytes_total. */
  #logMetrics({ partitions }: Services): void {
    const stats = partitions.all().next().value?.log.stats ?? {}
    for (const key of Object.keys(stats)) {
      const name = `playhead_log_${key.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}`
      const help = logMetricHelp[key] ?? `Sum of ${key} over all partitions.`
      const source = (): Sample[] => {
        let sum = 0
        for (const { log } of partitions.all()) sum += Number(Reflect.get(log.stats, key) ?? 0)
        return [[sum]]
      }
      if (presentAmounts.has(key)) this.#gauge(name, help, [], source)
      else this.#counter(`${name}_total`, help, [], source)
    }
  }

  /** What the tier counts: `stats.sentBytes` is playhead_tier_sent_bytes_total. */
  #tierMetrics(tier: MetricsOptions['tier']): void {
    if (tier() === undefined) return
    for (const [key, help] of Object.entries(tierMetricHelp)) {
      const name = `playhead_tier_${key.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}`
      const source = (): Sample[] => [[Number(Reflect.get(tier() ?? {}, key) ?? 0)]]
      if (presentTierAmounts.has(key)) this.#gauge(name, help, [], source)
      else this.#counter(`${name}_total`, help, [], source)
    }
  }

  #storageMetrics(storage: MetricsOptions['storage']): void {
    const commits = [
      ['playhead_commit_seconds', 'Time of a group commit: the write and its sync.', 1000, 'ms'],
      ['playhead_commit_bytes', 'Bytes of a group commit.', 1, 'bytes'],
      ['playhead_commit_batches', 'Batches of a group commit.', 1, 'batches'],
    ] as const
    for (const [name, help, divisor, key] of commits)
      addBucketMetric({ name, help, divisor, source: () => storage().commits[key], registry: this.#registry })
    this.#gauge('playhead_open_segments', 'Sealed segments open for reading.', [], () => [[storage().openSegments]])
    this.#gauge('playhead_tail_cache_bytes', 'Newest batches kept in memory.', [], () => [[storage().tailCacheBytes]])
    for (const key of Object.keys(storage().cache)) {
      const name = `playhead_cache_${key.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}_total`
      this.#counter(name, cacheHelp[key] ?? `The cache's ${key}.`, [], () => [
        [Number(Reflect.get(storage().cache, key) ?? 0)],
      ])
    }
  }

  #eventLoopMetrics(): void {
    const help = 'How late the event loop came to a timer, since the last scrape.'
    this.#gauge('playhead_event_loop_delay_seconds', help, ['percentile'], () => {
      const { p50, p99, max } = this.#eventLoop.takeDelay()
      return [
        [p50, { percentile: '50' }],
        [p99, { percentile: '99' }],
        [max, { percentile: '100' }],
      ]
    })
    const share = 'Share of the time in which the event loop worked, since the last scrape.'
    this.#gauge('playhead_event_loop_utilization_ratio', share, [], () => [[this.#eventLoop.takeUtilization()]])
  }

  #securityMetrics({ security }: Services): void {
    const on = 'Whether rights are checked: 1 = security is on.'
    this.#gauge('playhead_security_on', on, [], () => [[security.isOn ? 1 : 0]])
    const rows = [
      ['playhead_authentications_refused_total', 'Credentials that were refused.', () => security.stats.refused],
      ['playhead_requests_denied_total', 'Requests refused for want of a right.', () => security.stats.denied],
      ['playhead_audit_events_total', 'Events written to the audit topic.', () => security.auditStats.written],
      ['playhead_audit_lost_total', 'Audit events that could not be kept.', () => security.auditStats.lost],
    ] as const
    for (const [name, help, value] of rows) this.#counter(name, help, [], () => [[value()]])
  }

  #clusterMetrics({ cluster, partitions }: Services): void {
    if (cluster === undefined) return
    for (const { kind, name, help, labels, source } of clusterMetrics(cluster, partitions)) {
      if (kind === 'gauge') this.#gauge(name, help, labels, source)
      else this.#counter(name, help, labels, source)
    }
  }

  #tlsMetrics(tls: TlsFiles): void {
    const ends = 'When the certificate in use ends, seconds since 1970.'
    this.#gauge('playhead_tls_certificate_end_timestamp_seconds', ends, [], () => [[tls.expiresAtMs / 1000]])
    const unfit = '1 = the TLS files that are there now cannot be used; the ones before are.'
    this.#gauge('playhead_tls_files_unfit', unfit, [], () => [[tls.problem === '' ? 0 : 1]])
  }

  #httpMetrics(): void {
    this.#counter('playhead_http_answers_total', 'Answers on the HTTP port, by status.', ['status'], () =>
      [...this.httpAnswers].map(([status, count]) => [count, { status: String(status) }]),
    )
  }

  #gauge(name: string, help: string, labelNames: string[], source: Source): void {
    const gauge = new Gauge({
      name,
      help,
      labelNames,
      registers: [this.#registry],
      collect() {
        gauge.reset()
        for (const [value, labels] of source()) gauge.set(labels ?? {}, value)
      },
    })
  }

  #counter(name: string, help: string, labelNames: string[], source: Source): void {
    const counter = new Counter({
      name,
      help,
      labelNames,
      registers: [this.#registry],
      collect() {
        counter.reset()
        for (const [value, labels] of source()) counter.inc(labels ?? {}, value)
      },
    })
  }
}
