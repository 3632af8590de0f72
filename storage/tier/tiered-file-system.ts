/**
 * TieredFileSystem: the local disk and the tier as one: a segment and its sidecar are there when the disk has them or a manifest names them. So
 * recovery, fetches, stream reads and replays cross from one to the other without knowing.
 * Invariants: what the disk has is read from the disk; nothing is written but to the disk; a name that is removed or replaced here is out of the
 * tier's sight in the same step.
 * Neighbours: LogStore runs on it, Tier fills it with logs; retention removes segments through it.
 */
import { isMissing } from '../../platform/file-system.ts'
import type { File, FileSystem } from '../../platform/file-system.ts'
import { baseOffsetOfFile, segmentFileName } from '../segment-format.ts'
import { RemoteSegment, RemoteSidecar } from './remote-file.ts'
import type { TierBlocks } from './tier-blocks.ts'
import type { TierLog } from './tier-log.ts'
import type { TierSegment } from './tier-manifest.ts'

interface RemotePlace {
  readonly log: TierLog
  readonly segment: TierSegment
  readonly isSidecar: boolean
}

export class TieredFileSystem implements FileSystem {
  readonly #local: FileSystem
  readonly #blocks: TierBlocks
  /** By the directory of the log. */
  readonly #logs = new Map<string, TierLog>()
  /** Told before a topic's directory goes. */
  onTopicRemoved: (topicId: string) => Promise<void> = () => Promise.resolve()

  constructor(local: FileSystem, blocks: TierBlocks) {
    this.#local = local
    this.#blocks = blocks
  }

  add(directory: string, log: TierLog): void {
    this.#logs.set(directory, log)
  }

  async open(path: string, mode: 'read' | 'write' | 'create'): Promise<File> {
    const preferred = mode === 'read' ? this.#preferred(path) : undefined
    if (preferred !== undefined) return this.#openRemote(path, preferred)
    try {
      return await this.#local.open(path, mode)
    } catch (error) {
      const remote = mode === 'read' && isMissing(error) ? await this.#instead(path) : undefined
      if (remote === undefined) throw error
      return this.#openRemote(path, remote)
    }
  }

  async list(directory: string): Promise<string[]> {
    const log = this.#logs.get(directory)
    await log?.look()
    if (log === undefined || log.segmentCount === 0) return this.#local.list(directory)
    const names = new Set(await this.#local.list(directory))
    for (const { footer } of log.segments) {
      const name = segmentFileName(footer.baseOffset)
      if (log.isShared && names.has(name)) continue
      names.add(name)
      names.add(sidecarOf(name))
    }
    return [...names].toSorted((a, b) => (a < b ? -1 : 1))
  }

  async exists(path: string): Promise<boolean> {
    return (await this.#local.exists(path)) || (await this.#instead(path)) !== undefined
  }

  makeDirectory(path: string): Promise<void> {
    return this.#local.makeDirectory(path)
  }

  async rename(from: string, to: string): Promise<void> {
    this.#hide(to, 'replaced')
    await this.#local.rename(from, to)
  }

  link(from: string, to: string): Promise<void> {
    return this.#local.link(from, to)
  }

  async remove(path: string): Promise<void> {
    const wasShown = this.#remote(path) !== undefined // what a manifest names may be another matter in a moment
    this.#hide(path, 'removed')
    try {
      await this.#local.remove(path)
    } catch (error) {
      if (!isMissing(error) || (!wasShown && !this.#wasRemote(path))) throw error
    }
  }

  async removeDirectory(path: string): Promise<void> {
    const found = /\/topics\/([0-9a-f-]{36})\.deleted$/.exec(path)
    if (found !== null) {
      await this.onTopicRemoved(found[1]!)
      const live = path.replace(/\.deleted$/, '/')
      for (const directory of this.#logs.keys()) if (directory.startsWith(live)) this.#logs.delete(directory)
    }
    await this.#local.removeDirectory(path)
  }

  syncDirectory(path: string): Promise<void> {
    return this.#local.syncDirectory(path)
  }

  /** A pair goes together: a segment without its sidecar is not what the tier has. */
  #hide(path: string, why: 'removed' | 'replaced'): void {
    const { log, baseOffset } = this.#name(path)
    if (log !== undefined && baseOffset !== undefined) log.hide(baseOffset, why)
  }

  #wasRemote(path: string): boolean {
    const { log, baseOffset } = this.#name(path)
    return log !== undefined && baseOffset !== undefined && log.isHidden(baseOffset)
  }

  #name(path: string): { log: TierLog | undefined; baseOffset: number | undefined; isSidecar: boolean } {
    const slash = path.lastIndexOf('/')
    const name = path.slice(slash + 1)
    const isSidecar = name.endsWith('.idx')
    const baseOffset = baseOffsetOfFile(isSidecar ? name.replace(/\.idx$/, '.log') : name)
    return { log: this.#logs.get(path.slice(0, slash)), baseOffset, isSidecar }
  }

  #remote(path: string): RemotePlace | undefined {
    const { log, baseOffset, isSidecar } = this.#name(path)
    if (log === undefined) return undefined
    const segment = baseOffset === undefined ? undefined : log.segment(baseOffset)
    return segment === undefined ? undefined : { log, segment, isSidecar }
  }

  #preferred(path: string): RemotePlace | undefined {
    const remote = this.#remote(path)
    return remote?.log.isPreferred(remote.segment.footer.baseOffset) === true ? remote : undefined
  }

  /**
   * What the tier has in place of a file that is not here. In a cluster a segment and its sidecar come from one place: two replicas have the same records
   * in them, and not the same bytes.
   */
  async #instead(path: string): Promise<RemotePlace | undefined> {
    const remote = this.#remote(path)
    if (remote?.log.isShared !== true || !remote.isSidecar) return remote
    const isHere = await this.#local.exists(path.replace(/\.idx$/, '.log'))
    return isHere && this.#preferred(path) === undefined ? undefined : remote
  }

  #openRemote(path: string, { log, segment, isSidecar }: RemotePlace): File {
    const next = (): RemoteSegment | undefined => {
      const nextPath = `${path.slice(0, path.lastIndexOf('/'))}/${segmentFileName(segment.footer.nextOffset)}`
      const after = this.#remote(nextPath)
      return after && (this.#openRemote(nextPath, after) as RemoteSegment)
    }
    return isSidecar
      ? new RemoteSidecar(path, this.#blocks, log, segment)
      : new RemoteSegment(path, this.#blocks, log, segment, next)
  }
}

function sidecarOf(segmentName: string): string {
  return segmentName.replace(/\.log$/, '.idx')
}
