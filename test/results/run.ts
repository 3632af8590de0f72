/** `npm run guarantees`: puts what the runs in test/results/ have survived into docs/guarantees.md. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pageWith } from './page.ts'
import { readRuns } from './test-run.ts'

const path = join(import.meta.dirname, '..', '..', 'docs', 'guarantees.md')
writeFileSync(path, pageWith(readFileSync(path, 'utf8'), readRuns()))
