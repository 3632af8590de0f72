/** TemporaryDirectory: a fresh directory under the system's, gone when its test ends: `await using directory = await TemporaryDirectory.make()`. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export class TemporaryDirectory {
  readonly path: string

  private constructor(path: string) {
    this.path = path
  }

  static async make(parent = tmpdir()): Promise<TemporaryDirectory> {
    return new TemporaryDirectory(await mkdtemp(join(parent, 'playhead-test-')))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.path, { recursive: true, force: true })
  }
}
