/**
 * `npm run test:mutants`: the harness on every mutant of the product, one after the other, and on the product itself.
 *   --only TEXT    those whose name has it; --except TEXT those whose name has not
 *   --from N       first seed (default 1), --seeds N so many at most for each (default 1500)
 *   --threads N    seeds at once (default: one for each core)
 *   --report       adds what came of it to test/results/, of which the table in docs/guarantees.md is made
 * Ends with 1 if one survives.
 */
import { parseArgs } from 'node:util'
import { writeRun } from '../results/test-run.ts'
import { hunt } from './hunt.ts'
import type { Hunted } from './hunt.ts'
import { clusterMutants } from './cluster-mutants.ts'
import { mutants } from './mutants.ts'

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    except: { type: 'string' },
    from: { type: 'string', default: '1' },
    seeds: { type: 'string', default: '1500' },
    threads: { type: 'string' },
    report: { type: 'boolean' },
  },
})

const fromSeed = Number(values.from)
const startedAt = new Date().toISOString()
const hunted: Hunted[] = []
const threads = values.threads === undefined ? {} : { threads: Number(values.threads) }

function print({ name, killed, seed, seeds, seconds, found }: Hunted): void {
  const how = seed === undefined ? '' : `, seed ${seed}, after ${seeds}`
  console.log(`${killed ? 'killed  ' : 'SURVIVED'}  ${name} (${seconds} s${how}): ${found}`)
}

// What kills the product as it is proves nothing about a mutant.
const product = hunt(
  { name: 'the product', edits: [], by: { kinds: ['power', 'flip', 'reset'] } },
  { fromSeed, seedsMax: 40, ...threads },
)
if (product.killed)
  throw new Error(`the harness finds fault with the product itself: seed ${product.seed}: ${product.found}`)
const isWanted = (name: string) =>
  name.includes(values.only) && (values.except === undefined || !name.includes(values.except))
for (const mutant of [...mutants, ...clusterMutants].filter(({ name }) => isWanted(name))) {
  const result = hunt(mutant, { fromSeed, seedsMax: Number(values.seeds), ...threads })
  hunted.push(result)
  print(result)
}
const killed = hunted.filter((each) => each.killed).length
console.log(`${killed} of ${hunted.length} mutants killed`)
if (values.report === true) {
  const found = hunted.map(({ name, killed: isKilled, seed, found: text }) => {
    const by = seed === undefined ? text : `seed ${seed}: ${text}`
    return { mutant: name, killed: isKilled, by }
  })
  const facts = { operations: 0, findings: hunted.length - killed, faults: [] }
  await writeRun({ command: 'test:mutants', startedAt, ...facts, mutants: found })
}
process.exit(killed === hunted.length && hunted.length > 0 ? 0 : 1)
