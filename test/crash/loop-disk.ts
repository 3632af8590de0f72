/**
 * LoopDisk: an ext4 file system of its own, in a file. Its power can be cut: the file system is shut down without its journal being written
 * (FS_IOC_SHUTDOWN), so that what was not synced is gone once it is mounted again. What the disk's own cache held is not lost by this: the file
 * stands for it. Needs root. `await using disk = await LoopDisk.make(bytes)`.
 */
import { execFile, spawnSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { mkdtemp, mkdir, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { requireTool } from './system-calls.ts'

const run = promisify(execFile)
/** _IOR('X', 125, __u32) with EXT4_GOING_FLAGS_NOLOGFLUSH. */
const shutDown = 'my $how = pack("L", 2); open(F, "<", $ARGV[0]) or die $!; ioctl(F, 0x8004587d, $how) or die $!'

export class LoopDisk {
  /** Where it is mounted. */
  readonly path: string
  readonly #directory: string
  readonly #image: string
  readonly #anyFile: string
  readonly #onExit = () => this.removeNow()

  private constructor(directory: string) {
    this.#directory = directory
    this.#image = join(directory, 'image')
    this.path = join(directory, 'mounted')
    this.#anyFile = join(this.path, 'any-file')
    process.once('exit', this.#onExit)
  }

  static async make(bytes: number): Promise<LoopDisk> {
    const disk = new LoopDisk(await mkdtemp(join(tmpdir(), 'playhead-disk-')))
    await mkdir(disk.path)
    const image = await open(disk.#image, 'w')
    await image.truncate(bytes)
    await image.close()
    await run('mkfs.ext4', ['-q', '-F', '-m', '0', disk.#image])
    await disk.#mount()
    const any = await open(disk.#anyFile, 'w')
    await any.sync()
    await any.close()
    return disk
  }

  /** From now on nothing reaches it, and every use of it fails. */
  async cutPower(): Promise<void> {
    await run('perl', ['-e', shutDown, this.#anyFile])
  }

  /** After a power cut, with nobody using it. */
  async powerUp(): Promise<void> {
    await run('umount', [this.path])
    await this.#mount()
  }

  async #mount(): Promise<void> {
    await run('mount', ['-o', 'loop', this.#image, this.path])
  }

  /** For a process that is about to exit: also while somebody still has a file of it open. */
  removeNow(): void {
    process.off('exit', this.#onExit)
    spawnSync('umount', ['--lazy', this.path])
    rmSync(this.#directory, { recursive: true, force: true })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    process.off('exit', this.#onExit)
    await run('umount', [this.path])
    await rm(this.#directory, { recursive: true })
  }
}

/** Throws naming what is missing. */
export function requireLoopDisks(): void {
  if (process.getuid?.() !== 0)
    throw new Error(`found user ${process.getuid?.()}, wanted root: file systems are mounted`)
  requireTool('mkfs.ext4', 'apt-get install e2fsprogs')
  requireTool('mount', 'apt-get install mount')
  requireTool('perl', 'apt-get install perl-base')
}
