/**
 * Takeover: a follower whose log batches bring no further gets its leader's sealed segments as files, beside the log that it has, which they replace when all of them are
 * there. Behind them it goes on with batches.
 * Invariant: what takes the log's place is one moment of the leader's log: the segments that one snapshot names, each as it was then, and heads files that are at least as new.
 * Neighbours: ReplicaFetcher calls it; replica-files.ts answers; IncomingLog keeps what comes.
 */
import type { RequestOf } from '../protocol/api.ts'
import type { IncomingLog, ReadShared } from '../storage/incoming-log.ts'
import type { LogSnapshot, SharedKind } from '../storage/shared-files.ts'
import type { CopyThrottle } from './copy-throttle.ts'

/** The leader's files. Rejects as a broker's requests do, and with `unavailable` when it cannot be reached. */
export interface FilesLink {
  snapshot(request: RequestOf<'replicaSnapshot'>, signal: AbortSignal): Promise<LogSnapshot>
  file(request: RequestOf<'replicaFile'>, signal: AbortSignal): Promise<Buffer>
}

export interface TakeoverOptions {
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

/**
 * Resolves once all of it has gathered. What has changed at the leader meanwhile is not taken; then the next attempt goes on with what did not. Throws unavailable, and what the
 * signal aborts with.
 */
export async function gatherFiles(options: TakeoverOptions): Promise<void> {
  const { leader, incoming, who, signal, latestEpoch } = options
  const snapshot = await leader.snapshot(who(), signal)
  for (const segment of await incoming.missing(snapshot))
    await incoming.receiveSegment(segment, (kind) => reader(options, kind, segment.baseOffset))
  for (const endOffset of snapshot.heads) await incoming.receiveHeads(endOffset, reader(options, 'heads', endOffset))
  signal.throwIfAborted()
  await incoming.finish(snapshot, latestEpoch)
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
