/** Derives the revenue view of a shop in a process of its own and prints a line after each commit: for tests that kill it. */
import { connect } from '../../client/index.ts'
import { lmdbViewStore, view } from '../../processing/index.ts'
import { revenue } from './sale.ts'

const [server = '', directory = ''] = process.argv.slice(2)
await using playhead = await connect(server)
await using store = lmdbViewStore(directory)
const byCountry = view({ ...revenue, topic: playhead.topic('sales'), store, commitEvents: 1 })
await byCountry.catchUp({ onProgress: ({ events }) => process.stdout.write(`${events}\n`) })
