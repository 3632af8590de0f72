/**
 * `npm run test:mutants`: the harness on every mutant of the product, one after the other, and on the product itself.
 *   --only TEXT    those whose name has it
 *   --from N       first seed (default 1), --seeds N so many at most for each (default 1500)
 *   --report FILE  writes what came of it as JSON
 * Ends with 1 if one survives.
 */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { hunt } from './hunt.ts'
import type { Hunted } from './hunt.ts'
import { mutants } from './mutants.ts'

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    from: { type: 'string', default: '1' },
    seeds: { type: 'string', default: '1500' },
    report: { type: 'string' },
  },
})

const fromSeed = Number(values.from)
const hunted: Hunted[] = []

function print({ name, killed, seed, seeds, seconds, found }: Hunted): void {
  const how = seed === undefined ? '' : `, seed ${seed}, after ${seeds}`
  console.log(`${killed ? 'killed  ' : 'SURVIVED'}  ${name} (${seconds} s${how}): ${found}`)
}

// What kills the product as it is proves nothing about a mutant.
const product = hunt(
  { name: 'the product', edits: [], by: { kinds: ['power', 'flip', 'reset'] } },
  { fromSeed, seedsMax: 40 },
)
if (product.killed)
  throw new Error(`the harness finds fault with the product itself: seed ${product.seed}: ${product.found}`)
for (const mutant of mutants.filter(({ name }) => name.includes(values.only))) {
  const result = hunt(mutant, { fromSeed, seedsMax: Number(values.seeds) })
  hunted.push(result)
  print(result)
}
const killed = hunted.filter((each) => each.killed).length
console.log(`${killed} of ${hunted.length} mutants killed`)
if (values.report !== undefined)
  writeFileSync(values.report, `${JSON.stringify({ killed, mutants: hunted }, null, 2)}\n`)
process.exit(killed === hunted.length && hunted.length > 0 ? 0 : 1)
