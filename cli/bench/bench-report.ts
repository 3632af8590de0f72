/** BenchReport: what a bench came to, as the one JSON object of --json and as text for people. Called by bench-command.ts. */
import type { BrokerStatus } from '../../client/index.ts'
import { isPlayheadError } from '../../protocol/errors.ts'
import { bytesText, grouped, withUnit } from '../text-table.ts'
import type { BenchRun } from './bench-run.ts'
import type { LatencyHistogram } from './latency-histogram.ts'
import type { Measurement } from './measurement.ts'

interface Latency {
  readonly p50: number
  readonly p95: number
  readonly p99: number
  readonly max: number
}

interface Rates {
  readonly records: number
  /** Of values. */
  readonly bytes: number
  readonly seconds: number
  readonly recordsPerSecond: number
  /** MB = 10^6 bytes. */
  readonly mbPerSecond: number
  readonly latencyMs: Latency
}

/** null = the process could not be asked. */
interface ProcessUse {
  readonly cpuSeconds: number | null
  readonly rssMb: number | null
}

export interface BenchReport extends Rates {
  readonly bench: string
  readonly topic: string
  readonly client: ProcessUse
  readonly server: ProcessUse
  readonly seed: number
  /** Of `stream`: `records` are the events that were read, `latencyMs` is of whole reads. */
  readonly reads?: Rates & { readonly reads: number; readonly readsPerSecond: number }
  /** The bench ended before it was done. */
  readonly partial?: true
  readonly error?: { readonly code: string; readonly message: string }
}

export interface ReportInput {
  readonly run: BenchRun
  readonly client: ProcessUse
  readonly server: ProcessUse
  /** Why it ended early; undefined = it did not. */
  readonly failure: unknown
}

export function benchReport({ run, client, server, failure }: ReportInput): BenchReport {
  const { settings, measurement, reads } = run
  return {
    bench: settings.work,
    topic: settings.topic,
    ...ratesOf(measurement),
    client,
    server,
    seed: settings.seed,
    ...(reads.hasBegun && {
      reads: {
        reads: reads.latency.count,
        readsPerSecond: perSecond(reads.latency.count, reads.seconds),
        ...ratesOf(reads),
      },
    }),
    ...(failure !== undefined && { partial: true, error: errorOf(failure) }),
  }
}

/** Processor time between two answers of a broker, and its memory at the second; null where one is missing. */
export function serverUse(before: BrokerStatus, after: BrokerStatus | undefined): ProcessUse {
  if (after === undefined) return { cpuSeconds: null, rssMb: null }
  // A broker that was started again in between has counted from 0.
  const cpuMs = after.uptimeMs < before.uptimeMs ? after.cpuMs : after.cpuMs - before.cpuMs
  return { cpuSeconds: rounded(cpuMs / 1000, 3), rssMb: rounded(after.rssBytes / 1e6, 1) }
}

/** This process since `before`; memory is the most it has had. */
export function clientUse(before: NodeJS.CpuUsage): ProcessUse {
  const { user, system } = process.cpuUsage(before)
  return {
    cpuSeconds: rounded((user + system) / 1e6, 3),
    rssMb: rounded((process.resourceUsage().maxRSS * 1024) / 1e6, 1),
  }
}

export function reportText(report: BenchReport, { settings }: BenchRun): string {
  const lines: [string, string][] = [
    ...(report.partial === true
      ? [['partial', 'it ended early; the figures are of what was done'] as [string, string]]
      : []),
    ...ratesText(report, latencyTitles[settings.work]),
    ...(report.reads === undefined ? [] : readsText(report.reads)),
    ['client', useText(report.client)],
    ['broker', useText(report.server)],
  ]
  const head = `bench ${report.bench} on topic ${report.topic}, seed ${report.seed}`
  return [head, ...lines.map(([name, value]) => `  ${name.padEnd(11)} ${value}`)].join('\n')
}

/** What the latency of each bench is of. */
const latencyTitles: Readonly<Record<BenchRun['settings']['work'], string>> = {
  produce: 'sent (or due) to acknowledged',
  consume: "reader's wait for a batch",
  'end-to-end': 'due to received',
  stream: 'sent (or due) to acknowledged',
}

function ratesOf(measurement: Measurement): Rates {
  const { records, bytes, seconds, latency } = measurement
  return {
    records,
    bytes,
    seconds: rounded(seconds, 3),
    recordsPerSecond: perSecond(records, seconds),
    mbPerSecond: rounded(seconds > 0 ? bytes / 1e6 / seconds : 0, 3),
    latencyMs: latencyOf(latency),
  }
}

function ratesText(rates: Rates, title: string): [string, string][] {
  return [
    ['records', `${grouped(rates.records)} (${bytesText(rates.bytes)} of values) in ${rates.seconds} s`],
    ['throughput', `${grouped(rates.recordsPerSecond)} records/s, ${rates.mbPerSecond} MB/s`],
    ['latency', `${latencyText(rates.latencyMs)}: ${title}`],
  ]
}

function readsText(reads: NonNullable<BenchReport['reads']>): [string, string][] {
  return [
    ['reads', `${withUnit(reads.reads, 'stream')} in ${reads.seconds} s, ${grouped(reads.readsPerSecond)} reads/s`],
    ['latency', `${latencyText(reads.latencyMs)}: one read`],
  ]
}

function latencyText({ p50, p95, p99, max }: Latency): string {
  return `p50 ${p50} ms, p95 ${p95} ms, p99 ${p99} ms, max ${max} ms`
}

function useText({ cpuSeconds, rssMb }: ProcessUse): string {
  return cpuSeconds === null
    ? 'gone: nobody could be asked'
    : `${cpuSeconds} s of processor time, ${rssMb} MB of memory`
}

function latencyOf(latency: LatencyHistogram): Latency {
  return {
    p50: rounded(latency.percentileMs(50), 3),
    p95: rounded(latency.percentileMs(95), 3),
    p99: rounded(latency.percentileMs(99), 3),
    max: rounded(latency.maxMs, 3),
  }
}

function perSecond(count: number, seconds: number): number {
  return seconds > 0 ? Math.round(count / seconds) : 0
}

function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits))
}

function errorOf(failure: unknown): { code: string; message: string } {
  if (isPlayheadError(failure)) return { code: failure.code, message: failure.message }
  return { code: 'internal', message: String(failure) }
}
