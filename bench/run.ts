/** `npm run bench`: every micro benchmark at full size, one JSON line each, with the runtime it ran on. */
import { readdirSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { measure } from './harness.ts'
import type { Bench } from './harness.ts'

const folder = join(import.meta.dirname, 'micro')
const machine = { node: process.version, cpu: cpus()[0]?.model, cores: cpus().length }
for (const file of readdirSync(folder).filter((name) => name.endsWith('.bench.ts'))) {
  const { benches } = (await import(join(folder, file))) as { benches: readonly Bench[] }
  for (const each of benches) console.log(JSON.stringify({ ...measure(each, each.full), ...machine }))
}
