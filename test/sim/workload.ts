/** Workload: what a seed's sessions do: which topic, which streams, how often what. Drawn once per seed. */
import { partitionOf } from '../../protocol/murmur2.ts'
import type { Scheduler } from './scheduler.ts'

export const topicName = 'carts'

export type Task =
  | 'append'
  | 'appendToSeveral'
  | 'produce'
  | 'import'
  | 'replay'
  | 'readStream'
  | 'tail'
  | 'playhead'
  | 'trim'

const tasks: readonly Task[] = [
  'append',
  'appendToSeveral',
  'produce',
  'import',
  'replay',
  'readStream',
  'tail',
  'playhead',
]

export interface WorkloadOptions {
  readonly mayTrim?: boolean
  /** Others take over after seconds, not milliseconds: less is done, for longer. */
  readonly isCluster?: boolean
  readonly topic?: string
  /** A real disk makes some ten files a second: more segments than that would be all that a broker does. */
  readonly segmentMsMin?: number
  /** Of the topic, beside those that are drawn. */
  readonly topicSettings?: Readonly<Record<string, string>>
}

export class Workload {
  readonly topic: string
  readonly sessions: number
  readonly partitions: number
  readonly settings: Readonly<Record<string, string>>
  readonly streams: readonly string[]
  /** Usual pause between two tasks of a session, ms. */
  readonly pauseMs: number
  /** Of the part with faults. Busy sessions get less of it: reads cost by what there is, and a seed should be cheap. */
  readonly durationMs: number
  /** A payload may have this many bytes. */
  readonly payloadBytesMax: number
  readonly rowsPerImport: number
  /** Partitions lose their beginnings. */
  readonly trims: boolean
  readonly #weighted: readonly Task[]
  readonly #scheduler: Scheduler
  #values = 0

  constructor(
    scheduler: Scheduler,
    {
      mayTrim = true,
      isCluster = false,
      topic = topicName,
      segmentMsMin = 0,
      topicSettings = {},
    }: WorkloadOptions = {},
  ) {
    const { random } = scheduler
    this.#scheduler = scheduler
    this.topic = topic
    this.sessions = 2 + random.below(3)
    this.partitions = random.pick([1, 1, 2, 3])
    this.settings = {
      'segment.bytes': '1048576',
      'segment.ms': String(Math.max(segmentMsMin, random.pick([100, 1_000, 5_000, 604_800_000]))),
      ...topicSettings,
    }
    const count = random.pick([1, 3, 10])
    this.streams = Array.from({ length: count }, (_, index) => `s${index}`)
    this.pauseMs = random.pick(isCluster ? [50, 300, 1_000] : [10, 50, 150])
    this.durationMs = isCluster
      ? random.pick(this.pauseMs === 50 ? [2_000, 5_000] : [5_000, 12_000, 30_000])
      : random.pick(this.pauseMs === 10 ? [500, 1_000] : [500, 1_500, 4_000])
    this.payloadBytesMax = random.pick([20, 20, 200, 2_000, 2_000, 40_000])
    this.rowsPerImport = 5 + random.below(60)
    const weighted = tasks.flatMap((task) => Array<Task>(1 + random.below(5)).fill(task))
    this.trims = scheduler.oneIn(isCluster ? 2 : 4) && mayTrim
    this.#weighted = this.trims ? [...weighted, 'trim', 'trim'] : weighted
  }

  task(): Task {
    return this.#scheduler.random.pick(this.#weighted)
  }

  stream(): string {
    return this.#scheduler.random.pick(this.streams)
  }

  partitionOf(stream: string): number {
    return partitionOf(stream, this.partitions, 'key')
  }

  /** Unique in the whole run. */
  value(session: string): string {
    return `${session}.${this.#values++}`
  }

  /** The payload that carries a value, now and then a large one. */
  payload(value: string): { readonly v: string; readonly x: string } {
    const { random } = this.#scheduler
    return { v: value, x: 'x'.repeat(random.below(8) === 0 ? random.below(this.payloadBytesMax) : 3) }
  }
}

/** The value in a payload. */
export function valueOf(payload: unknown): string {
  const { v } = payload as { readonly v?: unknown }
  return typeof v === 'string' ? v : `garbage ${JSON.stringify(payload)?.slice(0, 80)}`
}
