/**
 * Takeover: a follower whose log batches bring no further gets its leader's sealed segments as files, beside the log that it has, which they replace when all of them are
 * there. Behind them it goes on with batches.
 * Invariant: what takes the log's place is one moment of the leader's log: the segments that a snapshot names and, taken after it, heads files that are at least as new;
 * a snapshot behind all that names the same.
 * Neighbours: ReplicaFetcher calls it; replica-files.ts answers; IncomingLog keeps what comes.
 */
import { isDeepStrictEqual } from 'node:util'
import type { RequestOf } from '../protocol/api.ts'
import { PlayheadError } from '../protocol/errors.ts'
import type { IncomingLog, ReadShared } from '../storage/incoming-log.ts'
import type { LogSnapshot, SharedKind } from '../storage/shared-files.ts'
import type { CopyThrottle } from './copy-throttle.ts'

/** The leader's files. Rejects as a broker's requests do, and with `unavailable` when it cannot be reached. */
export interface FilesLink {
  snapshot(request: RequestOf<'replicaSnapshot'>, signal: AbortSignal): Promise<LogSnapshot>
  file(request: RequestOf<'replicaFile'>, signal: AbortSignal): Promise<Buffer>
}

export interface TakeoverOptions {
  /** topic/partition */
  readonly name: string
  readonly leader: FilesLink
  readonly incoming: IncomingLog
  /** Who asks, as of now. */
  readonly who: () => RequestOf<'replicaSnapshot'>
  readonly latestEpoch: number
  readonly fileBytesMax: number
  /** Undefined = at full speed. */
  readonly throttle: CopyThrottle | undefined
  readonly signal: AbortSignal
  readonly onBytes: (bytes: number) => void
}

/** Each copies what a pass of the leader's cleaner has changed meanwhile, and that is held back. */
const attemptsMax = 20

/** Resolves once all of it has gathered. Throws damagedData, unavailable, and what the signal aborts with. */
export async function gatherFiles(options: TakeoverOptions): Promise<void> {
  const { name, leader, incoming, who, signal, latestEpoch } = options
  let snapshot = await leader.snapshot(who(), signal)
  for (let attempt = 1; attempt <= attemptsMax; attempt++) {
    for (const segment of await incoming.missing(snapshot)) {
      await incoming.receiveSegment(segment, (kind) => reader(options, kind, segment.baseOffset))
    }
    await incoming.dropHeads()
    for (const endOffset of snapshot.heads) await incoming.receiveHeads(endOffset, reader(options, 'heads', endOffset))
    const now = await leader.snapshot(who(), signal)
    signal.throwIfAborted()
    if (isSameMoment(snapshot, now)) return await incoming.finish(snapshot, latestEpoch)
    snapshot = now
  }
  const message = `${name}: found the leader's files changed ${attemptsMax} times while they were copied, wanted a moment without; it is tried again`
  throw new PlayheadError('unavailable', message, { outcome: 'notApplied' })
}

/** What was sealed behind it meanwhile comes as batches. */
function isSameMoment(before: LogSnapshot, now: LogSnapshot): boolean {
  const { segments, leaderEpoch: _, epochs: __, ...rest } = before
  const { segments: segmentsNow, leaderEpoch: ___, epochs: ____, ...restNow } = now
  return isDeepStrictEqual(rest, restNow) && isDeepStrictEqual(segments, segmentsNow.slice(0, segments.length))
}

function reader(options: TakeoverOptions, kind: SharedKind, offset: number): ReadShared {
  const { leader, who, fileBytesMax, throttle, signal, onBytes } = options
  return async (position) => {
    const maxBytes = throttle?.bytesMax(fileBytesMax) ?? fileBytesMax
    const bytes = await leader.file({ ...who(), kind, offset, position, maxBytes }, signal)
    signal.throwIfAborted()
    onBytes(bytes.length)
    await throttle?.copied(bytes.length, signal)
    return bytes
  }
}
