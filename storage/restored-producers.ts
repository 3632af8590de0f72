/** The producers of a log at its start: the newest state of them that the checkpoint or some sidecar has. Called by recovery.ts, which replays what came later. */
import { PlayheadError } from '../protocol/errors.ts'
import type { ProducerState } from './producer-state.ts'
import type { RecoveryCheckpoint } from './recovery-checkpoint.ts'
import { sidecarPath } from './sealing.ts'
import type { SegmentFile } from './segment-files.ts'
import { Sidecar } from './sidecar.ts'
import { SectionKind } from './sidecar-format.ts'
import type { LogIdentity, StorageContext } from './storage-context.ts'

export interface ProducerSources {
  readonly context: StorageContext
  readonly identity: LogIdentity
  /** In the order of the log. */
  readonly entries: readonly SegmentFile[]
  readonly checkpoint: RecoveryCheckpoint | undefined
  /** Nothing is in it yet. */
  readonly producers: ProducerState
}

/** Answers the offset up to which `producers` has everything; 0 where no state was found. */
export async function restoreProducers(sources: ProducerSources): Promise<number> {
  const { entries, checkpoint, producers } = sources
  const sealed = entries.filter(({ footer }) => footer !== undefined)
  const { facts, producers: saved } = checkpoint ?? {}
  if (facts !== undefined && saved !== undefined && facts.nextOffset >= (sealed.at(-1)?.footer?.nextOffset ?? 0)) {
    if (isRestored(producers, saved)) return facts.nextOffset
  }
  for (const entry of sealed.toReversed()) {
    const snapshot = await snapshotOf(sources, entry)
    if (snapshot !== undefined && isRestored(producers, snapshot)) return entry.footer?.nextOffset ?? 0
  }
  return 0
}

async function snapshotOf({ context, identity }: ProducerSources, entry: SegmentFile): Promise<Buffer | undefined> {
  try {
    await using sidecar = await Sidecar.open(context.fileSystem, sidecarPath(identity, entry))
    return await sidecar.section(SectionKind.producers)
  } catch (error) {
    if (!(error instanceof PlayheadError)) throw error
    return undefined
  }
}

/** False when the snapshot is none. */
function isRestored(producers: ProducerState, snapshot: Buffer): boolean {
  if (snapshot.length === 0) return false
  try {
    producers.restore(snapshot)
    return true
  } catch (error) {
    if (!(error instanceof PlayheadError)) throw error
    return false
  }
}
