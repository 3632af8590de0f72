/** What `npm run bench:rivals` was asked for. Pure. Called by run.ts. */
import { parseArgs } from 'node:util'
import { PlayheadError } from '../../protocol/errors.ts'
import { fullScale, quickScale } from './scale.ts'
import type { Scale } from './scale.ts'

export interface RivalsArguments {
  /** Names of peers in the order given. */
  readonly peers: readonly string[]
  readonly scale: Scale
  readonly withDurable: boolean
  readonly sides: 'both' | 'theirs'
  /** Write the page from the results there are, measure nothing. */
  readonly isPageOnly: boolean
}

export const usage = `usage: npm run bench:rivals -- PEER… [--rounds 3] [--quick] [--durable] [--without-ours] | --page
  PEER            kafka, nats, redis, rabbitmq, umadb
  --rounds N      rounds of each side (default: 3, with --quick 1)
  --quick         an eighth of the work; prints a table, writes no result and no page
  --durable       also each peer as it syncs before it acknowledges, where it can
  --without-ours  the peers alone: prints their figures, writes nothing
  --page          writes docs/benchmarks.md and its chart from bench/results/`

/** Throws `invalidArgument`. */
export function parseRivalsArguments(args: readonly string[], known: readonly string[]): RivalsArguments {
  const { values, positionals } = parse(args)
  const unknown = positionals.filter((name) => !known.includes(name))
  if (unknown.length > 0)
    throw new PlayheadError('invalidArgument', `peer: found ${unknown.join(', ')}, wanted some of ${known.join(', ')}`)
  const isPageOnly = values.page === true
  if (positionals.length === 0 && !isPageOnly)
    throw new PlayheadError('invalidArgument', `peer: found none, wanted some of ${known.join(', ')}`)
  const rounds = values.rounds === undefined ? undefined : Number(values.rounds)
  if (rounds !== undefined && !(Number.isInteger(rounds) && rounds >= 1 && rounds <= 20))
    throw new PlayheadError('invalidArgument', `--rounds: found ${values.rounds}, wanted a whole number from 1 to 20`)
  return {
    peers: [...new Set(positionals)],
    scale: values.quick === true ? quickScale(rounds) : fullScale(rounds),
    withDurable: values.durable === true,
    sides: values['without-ours'] === true ? 'theirs' : 'both',
    isPageOnly,
  }
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        rounds: { type: 'string' },
        quick: { type: 'boolean' },
        durable: { type: 'boolean' },
        'without-ours': { type: 'boolean' },
        page: { type: 'boolean' },
      },
    })
  } catch (error) {
    throw new PlayheadError('invalidArgument', (error as Error).message)
  }
}
