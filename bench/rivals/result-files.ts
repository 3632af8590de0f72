/**
 * Where results and the page lie: bench/results/<date>.json, docs/benchmarks.md and docs/benchmarks.svg. Invariant: a result once written is never
 * overwritten, and the page is made of all of them. Called by run.ts.
 */
import { existsSync } from 'node:fs'
import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pageOf } from './page.ts'
import type { RunResult } from './result.ts'
import { runTool } from './tool.ts'

export class ResultFiles {
  readonly #root: string

  /** `root`: the checkout. */
  constructor(root: string) {
    this.#root = root
  }

  /** Oldest first. */
  async read(): Promise<RunResult[]> {
    if (!existsSync(this.#results)) return []
    const names = (await readdir(this.#results)).filter((name) => name.endsWith('.json'))
    const texts = await Promise.all(names.map((name) => readFile(join(this.#results, name), 'utf8')))
    const results = texts.map((text) => JSON.parse(text) as RunResult)
    return results.toSorted((a, b) => a.startedAt.localeCompare(b.startedAt))
  }

  /** Answers the path below the checkout. A second result of a day is <date>-2.json. */
  async write(result: RunResult): Promise<string> {
    await mkdir(this.#results, { recursive: true })
    const date = result.startedAt.slice(0, 10)
    let name = `${date}.json`
    for (let count = 2; existsSync(join(this.#results, name)); count++) name = `${date}-${count}.json`
    const path = join(this.#results, name)
    await writeFile(path, `${JSON.stringify(result, null, 2)}\n`, { flag: 'wx' })
    // As the rest of the checkout, whose check looks at JSON too.
    const formatter = join(this.#root, 'node_modules', '.bin', 'biome')
    if (existsSync(formatter)) await runTool([formatter, 'format', '--write', path], { directory: this.#root })
    return join('bench', 'results', name)
  }

  async writePage(): Promise<void> {
    const { markdown, svg } = pageOf(await this.read())
    const docs = join(this.#root, 'docs')
    await writeFile(join(docs, 'benchmarks.md'), markdown)
    if (svg === undefined) await rm(join(docs, 'benchmarks.svg'), { force: true })
    else await writeFile(join(docs, 'benchmarks.svg'), svg)
  }

  get #results(): string {
    return join(this.#root, 'bench', 'results')
  }
}
