/**
 * BenchSettings: the flags of `playhead bench` checked and completed. What makes no sense is wrong usage, named by flag, found and wanted,
 * before a broker is asked; what only the topic can tell (checkAgainstTopic) right after. Called by bench-command.ts.
 */
import type { Acks, Compression, TopicDescription } from '../../client/index.ts'
import { PlayheadError } from '../../protocol/errors.ts'
import { KiB, MiB } from '../../protocol/limits.ts'
import { UsageError } from '../failure-report.ts'
import { sequenceBytes } from './record-load.ts'

export const benchWorks = ['produce', 'consume', 'end-to-end', 'stream'] as const
export type BenchWork = (typeof benchWorks)[number]

/** As the command line gives them; texts are not checked yet. */
export interface BenchFlags {
  readonly topic: string
  readonly records?: number
  readonly recordBytes?: number
  readonly batchBytes?: number
  readonly partitions?: number
  readonly streams?: number
  readonly acks?: string
  readonly linger?: string
  readonly inFlight?: number
  readonly rate?: string
  readonly duration?: number
  readonly warmUp?: number
  readonly compression?: string
  readonly connections?: number
  readonly reads?: number
  readonly seed?: number
}

export interface BenchSettings {
  readonly work: BenchWork
  readonly topic: string
  /** Infinity: as many as the duration, or the topic, has. */
  readonly records: number
  readonly recordBytes: number
  readonly batchBytes: number
  /** undefined = as the topic is, or the default of a new one. */
  readonly partitions: number | undefined
  /** 0 = null keys. */
  readonly streams: number
  readonly acks: Acks
  readonly lingerMs: number
  readonly inFlight: number
  /** Records a second in all; undefined = as fast as it goes. */
  readonly rate: number | undefined
  /** Infinity: until the records are done. */
  readonly durationMs: number
  /** What was due before that has no latency that counts. */
  readonly warmUpMs: number
  readonly compression: Compression
  readonly connections: number
  /** Stream reads after the appends. */
  readonly reads: number
  readonly seed: number
}

const recordBytesMax = 64 * MiB
const streamsMax = 2_000_000
const inFlightMax = 16_384
const connectionsMax = 256
/** What a record has beside value and key, generously. */
const recordOverheadBytes = 256

/** What applies where a flag is absent. */
const recordsDefault: Readonly<Record<BenchWork, number>> = {
  produce: 1_000_000,
  consume: Number.POSITIVE_INFINITY,
  'end-to-end': 50_000,
  stream: 100_000,
}
const inFlightDefault: Readonly<Record<BenchWork, number>> = { produce: 5, consume: 1, 'end-to-end': 5, stream: 64 }
export const endToEndRateDefault = 5_000
export const streamsDefault = 10_000
export const readsDefault = 10_000

/** Flags that mean nothing to a work: taken, so that one line of flags serves all four, and named on stderr. */
const withoutMeaning: Readonly<Record<BenchWork, readonly (keyof BenchFlags)[]>> = {
  produce: ['reads', 'warmUp'],
  consume: [
    'recordBytes',
    'batchBytes',
    'streams',
    'acks',
    'linger',
    'inFlight',
    'rate',
    'warmUp',
    'compression',
    'reads',
    'seed',
  ],
  'end-to-end': ['reads'],
  stream: ['batchBytes', 'acks', 'linger', 'compression', 'warmUp'],
}

/** Throws UsageError. */
export function settingsOfFlags(work: BenchWork, flags: BenchFlags): BenchSettings {
  const ignored = ignoredFlags(work, flags)
  const own: BenchFlags = { ...flags, ...Object.fromEntries(ignored.map((name) => [name, undefined])) }
  const isTimed = own.duration !== undefined
  const settings: BenchSettings = {
    work,
    topic: own.topic,
    records: own.records ?? (isTimed ? Number.POSITIVE_INFINITY : recordsDefault[work]),
    recordBytes: own.recordBytes ?? 100,
    batchBytes: own.batchBytes ?? 64 * KiB,
    partitions: own.partitions,
    streams: own.streams ?? (work === 'stream' ? streamsDefault : 0),
    acks: oneOf('--acks', own.acks, ['all', 'leader', 'none']),
    lingerMs: own.linger === undefined ? 0 : numberOf('--linger', own.linger, 'milliseconds ≥ 0', 0),
    inFlight: own.inFlight ?? inFlightDefault[work],
    rate: rateOf(work, own.rate),
    durationMs: own.duration === undefined ? Number.POSITIVE_INFINITY : own.duration * 1000,
    warmUpMs: (own.warmUp ?? 0) * 1000,
    compression: oneOf('--compression', own.compression, ['none', 'gzip', 'zstd']),
    connections: own.connections ?? 1,
    reads: own.reads ?? readsDefault,
    seed: own.seed ?? Math.floor(Math.random() * 2 ** 32),
  }
  checkRanges(settings)
  return settings
}

/** Flags that were given and change nothing. */
export function ignoredFlags(work: BenchWork, flags: BenchFlags): (keyof BenchFlags)[] {
  return withoutMeaning[work].filter((name) => flags[name] !== undefined)
}

/** `recordBytes` → `--record-bytes`. */
export function flagText(name: string): string {
  return `--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`
}

/** Throws UsageError for what this topic cannot take, PlayheadError `invalidPartitions` if it is not the topic that was meant. */
export function checkAgainstTopic(settings: BenchSettings, described: TopicDescription): void {
  const { topic, work, partitions, recordBytes, batchBytes, connections } = settings
  const found = described.partitions.length
  if (partitions !== undefined && partitions !== found) {
    const message = `--partitions: found topic ${topic} with ${found}, wanted ${partitions}; leave the flag out, or name another topic`
    throw new PlayheadError('invalidPartitions', message)
  }
  if (work === 'consume') return atMost('--connections', connections, found, `the partitions of topic ${topic}`)
  const setting = described.settings.find(({ name }) => name === 'max.message.bytes')
  const valueBytesMax = Number(setting?.value ?? recordBytesMax) - recordOverheadBytes
  const because = `max.message.bytes of topic ${topic}, less ${recordOverheadBytes} for the rest of a record`
  atMost('--record-bytes', recordBytes, valueBytesMax, because)
  // A batch leaves once it has that many bytes: its last record comes on top.
  if (work !== 'stream') atMost('--batch-bytes', batchBytes, valueBytesMax - recordBytes, `${because} and one record`)
}

function checkRanges(settings: BenchSettings): void {
  const { work, records, recordBytes, batchBytes, streams, inFlight, connections, seed, warmUpMs } = settings
  if (recordBytes < sequenceBytes) {
    throw new UsageError(`--record-bytes: found ${recordBytes}, wanted ${sequenceBytes} … ${recordBytesMax}`)
  }
  atMost('--record-bytes', recordBytes, recordBytesMax, 'the largest frame')
  atMost('--batch-bytes', batchBytes, recordBytesMax, 'the largest frame')
  atMost('--streams', streams, streamsMax, 'their names are kept in memory')
  atMost('--in-flight', inFlight, inFlightMax, 'what a connection takes')
  atMost('--connections', connections, connectionsMax, 'of one process')
  atMost('--seed', seed, 2 ** 32 - 1, '32 bits')
  const runMs = Math.min(settings.durationMs, (records * 1000) / (settings.rate ?? Infinity))
  if (warmUpMs > 0 && warmUpMs >= runMs)
    throw new UsageError(
      `--warm-up: found ${warmUpMs / 1000}, wanted less than the ${runMs / 1000} s that the run takes`,
    )
  if (work === 'stream') {
    if (streams === 0) throw new UsageError('--streams: found 0, wanted at least 1: bench stream writes to streams')
    atMost('--in-flight', inFlight, streams, '--streams: one append under way for each, so that its version is known')
  } else {
    atMost('--streams', streams, records, '--records: a stream without a record is none')
  }
}

function atMost(flag: string, found: number, most: number, because: string): void {
  if (found > most) throw new UsageError(`${flag}: found ${found}, wanted at most ${most} (${because})`)
}

function rateOf(work: BenchWork, text: string | undefined): number | undefined {
  if (text !== undefined) return numberOf('--rate', text, 'records a second above 0', Number.MIN_VALUE)
  return work === 'end-to-end' ? endToEndRateDefault : undefined
}

function numberOf(flag: string, text: string, wanted: string, least: number): number {
  const number = /^\d{1,12}(?:\.\d+)?$/.test(text) ? Number(text) : Number.NaN
  if (number >= least) return number
  throw new UsageError(`${flag}: found ${JSON.stringify(text)}, wanted ${wanted}`)
}

/** The first is the default. */
function oneOf<T extends string>(flag: string, text: string | undefined, known: readonly [T, ...T[]]): T {
  if (text === undefined) return known[0]
  const found = known.find((name) => name === text)
  if (found !== undefined) return found
  const wanted = `${known.slice(0, -1).join(', ')} or ${known.at(-1)}`
  throw new UsageError(`${flag}: found ${JSON.stringify(text)}, wanted ${wanted}`)
}
