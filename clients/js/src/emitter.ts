/** Typed events: what is told to whom listens. */
export interface Emitter<Events> {
  /** Calls listener with each event of that name, until the function that is returned is called. */
  on<Name extends keyof Events>(name: Name, listener: (event: Events[Name]) => void): () => void
}

export type Emit<Events> = <Name extends keyof Events>(name: Name, event: Events[Name]) => void

/** A listener that throws harms neither the others nor the client: its error is uncaught. */
export function createEmitter<Events>(): Emitter<Events> & { emit: Emit<Events> } {
  const listeners = new Set<[name: unknown, listener: (event: any) => void]>()
  return {
    on(...own) {
      listeners.add(own)
      return () => { listeners.delete(own) }
    },
    emit(name, event) {
      for (const [wanted, listener] of [...listeners]) {
        try {
          if (wanted === name) listener(event)
        } catch (err) {
          queueMicrotask(() => { throw err })
        }
      }
    }
  }
}
