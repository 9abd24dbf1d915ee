import { median } from './page.mjs'

const short = n => n >= 1000 ? Math.round(n).toLocaleString('en') : n >= 100 || Number.isInteger(n) ? String(Math.round(n)) : n.toFixed(1)

/** figures: {title: {column: [{row: number}]}}. Prints medians (least–most). */
export function print (figures) {
  for (const [title, columns] of Object.entries(figures)) {
    const names = Object.keys(columns)
    const rows = [...new Set(names.flatMap(name => columns[name].flatMap(Object.keys)))]
    console.log(`\n| ${title}, n = ${Math.max(...names.map(n => columns[n].length))} | ${names.join(' | ')} |\n|---|${names.map(() => '---:|').join('')}`)
    for (const row of rows) {
      const cells = names.map(name => {
        const values = columns[name].map(sample => sample[row]).filter(v => v !== undefined)
        if (!values.length) return ''
        const [least, most] = [Math.min(...values), Math.max(...values)]
        return short(median(values)) + (least === most ? '' : ` (${short(least)}–${short(most)})`)
      })
      console.log(`| ${row} | ${cells.join(' | ')} |`)
    }
  }
}
