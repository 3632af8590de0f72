/**
 * OurWork: the pieces of work our side is measured with, each once a round however many tools of a peer are set beside it. Order matters:
 * what is consumed was produced before. Done by playhead.ts.
 */
export type OurWork = ProduceWork | ConsumeWork | EndToEndWork | ConditionalAppendWork

export interface ProduceWork {
  readonly kind: 'produce'
  readonly recordBytes: number
}

export interface ConsumeWork {
  readonly kind: 'consume'
  readonly recordBytes: number
}

export interface EndToEndWork {
  readonly kind: 'endToEnd'
  readonly recordBytes: number
}

export interface ConditionalAppendWork {
  readonly kind: 'conditionalAppend'
  readonly recordBytes: number
  readonly streams: number
  readonly inFlight: number
}

const kindsInOrder: readonly OurWork['kind'][] = ['produce', 'consume', 'endToEnd', 'conditionalAppend']

/** The same words in the table and the progress lines: it also tells two pieces of work apart. */
export function titleOf(work: OurWork): string {
  const size = work.recordBytes === 1024 ? '1 KiB' : `${work.recordBytes} B`
  switch (work.kind) {
    case 'produce':
      return `write ${size}`
    case 'consume':
      return `read ${size}`
    case 'endToEnd':
      return `end to end at 5,000 records/s, ${size}`
    case 'conditionalAppend':
      break
  }
  const inFlight = `${work.inFlight.toLocaleString('en')} in flight`
  return `conditional append ${size}, ${inFlight}, ${work.streams.toLocaleString('en')} streams`
}

/** Every distinct piece of work once, producing before consuming. */
export function distinctWork(all: readonly OurWork[]): OurWork[] {
  const byTitle = new Map(all.map((work) => [titleOf(work), work]))
  return [...byTitle.values()].toSorted((a, b) => kindsInOrder.indexOf(a.kind) - kindsInOrder.indexOf(b.kind))
}
