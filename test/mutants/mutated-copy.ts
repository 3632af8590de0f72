/** A copy of the sources and the tests, with the edits of one mutant. Neighbours: mutants.ts has the edits, hunt.ts runs the harness in it. */
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Edit } from './mutants.ts'

const root = join(import.meta.dirname, '../..')
const copied = ['platform', 'protocol', 'storage', 'replication', 'client', 'broker', 'bench', 'test', 'package.json']

/** The text with the edit. Throws when it does not fit any more. */
export function edited(edit: Edit, text: string): string {
  const parts = text.split(edit.find)
  if (parts.length === 2) return parts.join(edit.replace)
  throw new Error(`${edit.file}: found ${parts.length - 1} times, wanted once: ${edit.find.trim()}`)
}

/** What a file of the product says now. */
export function sourceOf(file: string): string {
  return readFileSync(join(root, file), 'utf8')
}

export class MutatedCopy {
  readonly directory = mkdtempSync(join(tmpdir(), 'playhead-mutant-'))

  constructor(edits: readonly Edit[]) {
    for (const name of copied) cpSync(join(root, name), join(this.directory, name), { recursive: true })
    symlinkSync(join(root, 'node_modules'), join(this.directory, 'node_modules'))
    for (const edit of edits) {
      const path = join(this.directory, edit.file)
      writeFileSync(path, edited(edit, readFileSync(path, 'utf8')))
    }
  }

  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true })
  }
}
