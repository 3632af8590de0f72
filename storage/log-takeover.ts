/**
 * Log takeover: a follower's log, closed, gives its place to the files of its leader's log that have gathered beside it.
 *   topics/<topic id>/incoming-<partition>/   what is to take the place of <partition>/
 *   topics/<topic id>/replaced-<partition>/   what had it, for the moment between two renames
 * Invariants: at every moment one whole log has the place or can be given it back; what the cache knows of the old log is gone before the new one has it.
 * Neighbours: TopicStore closes the log before and opens it behind; IncomingLog has what gathered.
 */
import type { FileSystem } from '../platform/file-system.ts'
import { afterPrefix } from './checkpoint-store.ts'
import { refusalOf } from './disk-space.ts'
import { IncomingLog } from './incoming-log.ts'
import { logPrefix } from './index-keys.ts'
import { removeIndex } from './index-removal.ts'
import { directoryOf } from './small-file.ts'
import type { LogIdentity, StorageContext } from './storage-context.ts'

export function incomingLogOf({ fileSystem }: StorageContext, identity: LogIdentity): IncomingLog {
  return new IncomingLog(fileSystem, identity, placesOf(identity).incoming)
}

/** `IncomingLog.finish` has made a log of it. What had the place is kept until `settle`. Throws diskFull. */
export async function takeOver(context: StorageContext, identity: LogIdentity): Promise<void> {
  const { fileSystem } = context
  const { topic, incoming, replaced } = placesOf(identity)
  try {
    await forgetDerived(context, identity)
    await fileSystem.removeDirectory(replaced)
    if (await fileSystem.exists(identity.directory)) await fileSystem.rename(identity.directory, replaced)
    await fileSystem.syncDirectory(topic)
    await fileSystem.rename(incoming, identity.directory)
    await fileSystem.syncDirectory(topic)
  } catch (error) {
    throw refusalOf(error, identity.directory)
  }
}

/** The new log is open: the old one may go. */
export async function settleTakeOver({ fileSystem }: StorageContext, identity: LogIdentity): Promise<void> {
  await fileSystem.removeDirectory(placesOf(identity).replaced)
}

/** The new log cannot be opened, or did not get the place: the old one has it again. */
export async function undoTakeOver(context: StorageContext, identity: LogIdentity): Promise<void> {
  const { fileSystem } = context
  const { topic, incoming, replaced } = placesOf(identity)
  if (!(await fileSystem.exists(replaced))) return
  await forgetDerived(context, identity)
  if (await fileSystem.exists(identity.directory)) {
    await fileSystem.removeDirectory(incoming)
    await fileSystem.rename(identity.directory, incoming)
  }
  await fileSystem.rename(replaced, identity.directory)
  await fileSystem.syncDirectory(topic)
}

/** Before a log is opened: an end between the two renames gives the old one its place back. What gathered stays for the next attempt. */
export async function finishTakeOver(fileSystem: FileSystem, identity: LogIdentity): Promise<void> {
  const { topic, replaced } = placesOf(identity)
  if (!(await fileSystem.exists(replaced))) return
  if (await fileSystem.exists(identity.directory)) return await fileSystem.removeDirectory(replaced)
  await fileSystem.rename(replaced, identity.directory)
  await fileSystem.syncDirectory(topic)
}

/** What the cache knows of the log that has the place. */
async function forgetDerived({ checkpointStore }: StorageContext, identity: LogIdentity): Promise<void> {
  const prefix = logPrefix(identity.topicId, identity.partition)
  await removeIndex(checkpointStore, prefix)
  await checkpointStore.removeRange(prefix, afterPrefix(prefix))
}

function placesOf({ directory, partition }: LogIdentity) {
  const topic = directoryOf(directory)
  return { topic, incoming: `${topic}/incoming-${partition}`, replaced: `${topic}/replaced-${partition}` }
}
