/**
 * FileSystem: the seam to files. Everything under storage reaches disks only through it, so that a simulated disk
 * can lose, tear and refuse. Errors keep Node's `code` (ENOENT, ENOSPC, EIO, EACCES …).
 * Neighbours: node-file-system.ts implements it; a simulated one lives with the tests.
 */
/**
 * A sync of a file failed inside another call. Whatever was written to the file before may be lost, and the kernel says so only once: whoever
 * owns the file must count its own bytes as lost too, whatever its next sync says. Has no `code`: it is never a refusal.
 */
export class SyncFailure extends Error {
  override readonly name = 'SyncFailure'
}

/** Whether a file or directory was not there. */
export function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT'
}

/** Appends are written in whole blocks of this size, counted from the beginning of the file. */
export const appendBlockBytes = 4096

/** The end of the block that stands before byte `end` of a file: what an append up to there fills. */
export function blocksEnd(end: number): number {
  return Math.ceil(end / appendBlockBytes) * appendBlockBytes
}

export interface File {
  readonly path: string
  /** Reads into the whole of `target` from byte `position` of the file; answers the bytes read, fewer only at the end of the file. */
  read(target: Buffer, position: number): Promise<number>
  /**
   * As `read`, at once: where the bytes likely lie in memory, and so few are wanted that the event loop may be held for them. Undefined where not, and
   * nothing of `target` is to be looked at then; without this method it is never done.
   */
  readNow?(target: Buffer, position: number): number | undefined
  /**
   * As `read`, past the page cache, which is left as it is: for who goes through a file that others will not. `target` begins on a page, and it and
   * `position` are multiples of `appendBlockBytes`. Undefined where that cannot be done; without this method it never can.
   */
  readDirect?(target: Buffer, position: number): Promise<number | undefined>
  /** Writes all bytes of `parts`, one after the other, from byte `position` on; a short write is continued, never reported as done. */
  write(parts: readonly Buffer[], position: number): Promise<void>
  /**
   * `write` and `sync` in one trip to the disk: resolves when all bytes of `parts` are durable, from byte `position` on. Only one at a time, behind
   * everything that stands in the file but zeros, and a rejection is as fatal as one of `sync`. What follows them up to the next multiple of
   * `appendBlockBytes` must be zeros already, and is written as such. `write` may change the file between two appends, not during one.
   */
  append(parts: readonly Buffer[], position: number): Promise<void>
  /**
   * fdatasync: resolves when everything written before the call is durable. A rejection is fatal for its owner: never retry. Once one sync of
   * the file has failed, also one inside `allocate`, none that was under way or comes later resolves.
   */
  sync(): Promise<void>
  /**
   * Makes the bytes [from, to) exist as written zeros and makes the new size durable, so that later writes into them change no metadata.
   * Only for a range at or past the present end of the file. Rejects with ENOSPC before the caller has promised anything,
   * and with SyncFailure when what was written before may be lost.
   */
  allocate(from: number, to: number): Promise<void>
  truncate(sizeBytes: number): Promise<void>
  sizeBytes(): Promise<number>
  close(): Promise<void>
}

/** The same file as an object of its own, for who spreads it and puts his own in the place of some methods. Those that a file need not have are left out. */
export function forwarding(file: File): File {
  return {
    path: file.path,
    read: (target, position) => file.read(target, position),
    write: (parts, position) => file.write(parts, position),
    append: (parts, position) => file.append(parts, position),
    sync: () => file.sync(),
    allocate: (from, to) => file.allocate(from, to),
    truncate: (sizeBytes) => file.truncate(sizeBytes),
    sizeBytes: () => file.sizeBytes(),
    close: () => file.close(),
  }
}

export interface FileSystem {
  /** `read`: must exist. `write`: must exist, read and write. `create`: must not exist, read and write. */
  open(path: string, mode: 'read' | 'write' | 'create'): Promise<File>
  /** Names (not paths) in a directory, sorted. ENOENT when it does not exist. */
  list(directory: string): Promise<string[]>
  exists(path: string): Promise<boolean>
  /** Creates the directory and its parents where missing, and makes each new name durable. */
  makeDirectory(path: string): Promise<void>
  rename(from: string, to: string): Promise<void>
  /** Gives the file at `from` a second name, in one step. EEXIST when `to` is there, ENOENT when `from` is not. */
  link(from: string, to: string): Promise<void>
  remove(path: string): Promise<void>
  /** Removes a directory and all that is in it; nothing happens when it is not there. */
  removeDirectory(path: string): Promise<void>
  /** fsync of the directory itself: names created, renamed and removed in it before the call are durable. */
  syncDirectory(path: string): Promise<void>
}
