/**
 * The values of the metadata keys: JSON objects, read with a check of every field. What is not ours is refused by the name of its key: brokers
 * that guess would agree on nothing. Fields are only ever added, with a meaning for their absence.
 * Neighbours: metadata-keys.ts names the keys; ClusterImage and everybody who changes something reads and writes through here.
 */
import { PlayheadError } from '../protocol/errors.ts'
import type { PartitionState } from './isr-change.ts'
import type { MetadataEntry } from './metadata-store.ts'

/** Of the keys and values as a whole. Brokers refuse a newer one; raised only when all brokers of a cluster can read it. */
export const metadataFormatVersion = 1

/** /c/id */
export interface ClusterRecord {
  readonly clusterId: string
  readonly format: number
}

/** /c/broker/<broker> and, while it is there, /c/session/<broker>. */
export interface BrokerRecord {
  readonly host: string
  readonly port: number
  readonly rack: string | null
  readonly dataDirectoryId: string
  /** Of the data directory: raised at every start. An older one than was registered is a copy from before. */
  readonly runEpoch: number
  /** Drawn at every start: tells two copies of one data directory apart. */
  readonly runId: string
  readonly release: string
}

/** /c/controller */
export interface ControllerRecord {
  readonly broker: number
}

/** /c/fenced/<broker> */
export interface FencedRecord {
  readonly brokerEpoch: number
}

/** /c/draining/<broker> */
export interface DrainingRecord {
  /** `leaders`: it keeps its replicas, for a restart. `replicas`: they move to others, for good. */
  readonly what: 'leaders' | 'replicas'
}

/** /c/throttle */
export interface ThrottleRecord {
  /** That a broker may fetch for replicas that are not in sync yet, all together. */
  readonly bytesPerSecond: number
}

/** /t/<topic id> */
export interface TopicRecord {
  readonly name: string
  readonly partitions: number
  readonly replicationFactor: number
  readonly internal: boolean
  readonly settings: Readonly<Record<string, string>>
  /** Until it is `ready` not all of its partitions may be there, and once it is `deleting` not any more. */
  readonly state: 'creating' | 'ready' | 'deleting'
}

/** /tn/<name> */
export interface TopicNameRecord {
  readonly topicId: string
}

type Check<T> = (value: unknown) => T | undefined

const text: Check<string> = (value) => (typeof value === 'string' ? value : undefined)
const textOrNull: Check<string | null> = (value) => (value === null ? null : text(value))
const flag: Check<boolean> = (value) => (typeof value === 'boolean' ? value : undefined)
const count: Check<number> = (value) =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined
/** 0 where it is not there: written by a release that had no such field. */
const countOrNone: Check<number> = (value) => (value === undefined ? 0 : count(value))
const countOrNull: Check<number | null> = (value) => (value === null ? null : count(value))
const counts: Check<readonly number[]> = (value) =>
  Array.isArray(value) && value.every((one) => count(one) !== undefined) ? value : undefined
const texts: Check<Readonly<Record<string, string>>> = (value) =>
  typeof value === 'object' && value !== null && Object.values(value).every((one) => typeof one === 'string')
    ? { ...value }
    : undefined
const oneOf =
  <T extends string>(...allowed: readonly T[]): Check<T> =>
  (value) =>
    allowed.find((one) => one === value)

type Checks<T> = { readonly [Field in keyof T]: Check<T[Field]> }

/** Reads records of one kind. Throws damagedData naming the key, the field and what was found. */
function reader<T extends object>(checks: Checks<T>): (entry: Pick<MetadataEntry, 'key' | 'value'>) => T {
  return ({ key, value }) => {
    const object = objectOf(value)
    if (object === undefined) throw damagedRecord(key, `${JSON.stringify(value.slice(0, 64))}, wanted a JSON object`)
    const record: Partial<T> = {}
    for (const field of Object.keys(checks) as (keyof T & string)[]) {
      const checked = checks[field](object[field])
      if (checked === undefined)
        throw damagedRecord(key, `${field} ${JSON.stringify(object[field])}, wanted another kind`)
      record[field] = checked
    }
    return record as T
  }
}

export const readCluster = reader<ClusterRecord>({ clusterId: text, format: count })
export const readBroker = reader<BrokerRecord>({
  host: text,
  port: count,
  rack: textOrNull,
  dataDirectoryId: text,
  runEpoch: count,
  runId: text,
  release: text,
})
export const readController = reader<ControllerRecord>({ broker: count })
export const readFenced = reader<FencedRecord>({ brokerEpoch: count })
export const readDraining = reader<DrainingRecord>({ what: oneOf('leaders', 'replicas') })
export const readThrottle = reader<ThrottleRecord>({ bytesPerSecond: count })
export const readTopic = reader<TopicRecord>({
  name: text,
  partitions: count,
  replicationFactor: count,
  internal: flag,
  settings: texts,
  state: oneOf('creating', 'ready', 'deleting'),
})
export const readTopicName = reader<TopicNameRecord>({ topicId: text })
export const readPartition = reader<PartitionState>({
  replicas: counts,
  leader: countOrNull,
  leaderEpoch: count,
  isr: counts,
  elr: counts,
  lastElr: counts,
  isrMin: count,
  adding: counts,
  removing: counts,
  startOffset: countOrNone,
  uncleanEpoch: count,
  nonce: text,
})

export function writeRecord(
  record:
    | ClusterRecord
    | BrokerRecord
    | ControllerRecord
    | FencedRecord
    | DrainingRecord
    | ThrottleRecord
    | TopicRecord
    | TopicNameRecord
    | PartitionState,
): string {
  return JSON.stringify(record)
}

function objectOf(value: string): Record<string, unknown> | undefined {
  try {
    const object: unknown = JSON.parse(value)
    return typeof object === 'object' && object !== null && !Array.isArray(object) ? { ...object } : undefined
  } catch {
    return undefined
  }
}

function damagedRecord(key: string, found: string): PlayheadError {
  const message = `metadata key ${key}: found ${found}; a newer release may have written it: use that one, or restore the metadata store from a copy`
  return new PlayheadError('damagedData', message, { key })
}
