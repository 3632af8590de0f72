/**
 * SessionPlaces: the clients of a simulation: so many at a time, each with tasks until `end`, and then one append and one read that must get through;
 * whoever dies is followed by another one. Neighbours: both simulations let them loose; Session is one of them, Workload says what they do.
 */
import type { Scheduler } from './scheduler.ts'
import type { Session } from './session.ts'
import type { Workload } from './workload.ts'

export interface SessionPlacesOptions {
  readonly scheduler: Scheduler
  readonly workload: Workload
  readonly open: (name: string) => Promise<Session>
}

export class SessionPlaces {
  readonly #options: SessionPlacesOptions
  readonly #sessions: (Session | undefined)[] = []
  #born = 0
  #isOver = false

  constructor(options: SessionPlacesOptions) {
    this.#options = options
  }

  /** Resolves when all places are done, after `end`. */
  async run(): Promise<void> {
    await Promise.all(Array.from({ length: this.#options.workload.sessions }, (_, place) => this.#live(place)))
  }

  end(): void {
    this.#isOver = true
  }

  /** One of them dies, or none. */
  killOne(): void {
    const place = this.#options.scheduler.random.below(this.#sessions.length + 1)
    this.#sessions[place]?.die()
    this.#sessions[place] = undefined
  }

  async #live(place: number): Promise<void> {
    const { scheduler, workload, open } = this.#options
    for (;;) {
      const session = await open(`c${this.#born++}`)
      this.#sessions[place] = session
      while (!this.#isOver && session.process.isAlive) {
        await scheduler.sleep(scheduler.between(0, 2 * workload.pauseMs), 'pause')
        if (session.process.isAlive && !this.#isOver) await Promise.race([session.run(workload.task()), session.death])
      }
      if (!session.process.isAlive) continue
      this.#sessions[place] = undefined
      for (const task of ['append', 'replay', 'tail'] as const)
        while (!(await session.run(task))) await scheduler.sleep(20)
      return session.close()
    }
  }
}
