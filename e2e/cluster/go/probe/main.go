// Command probe is what tests run inside pods and beside the cluster: it sends, answers and counts packets. Commands
// that measure print one JSON object and exit 0 when at least one answer came, 1 when none did, 2 on wrong usage.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const usage = `usage: probe COMMAND [FLAG]... [ARGUMENT]...
  pause                                              wait for a signal, reaping orphans
  sleep DURATION                                     wait
  serve [-http A] [-text T] [-tcp-echo A] [-udp-echo A]  answer on the addresses given
  get [-timeout D] [-insecure] [-header H] URL       print status and body
  tcp [-for D] [-interval D] [-timeout D] [-stay] HOST:PORT   connect again and again (one try without -for)
  udp [-for D] [-interval D] [-stay] HOST:PORT       send a datagram each interval, count the answers
  icmp [-for D] [-interval D] [-timeout D] [-stay] ADDRESS    send echo requests, count the answers
  resolve [-timeout D] NAME                          ask the pod's DNS
  forward -fd N HOST:PORT                            relay connections accepted on an inherited listening socket
  htpasswd USER PASSWORD                             print a bcrypt line for a registry's password file
`

var commands = map[string]func(arguments []string) int{
	"pause":    func([]string) int { return pause() },
	"sleep":    sleep,
	"serve":    serve,
	"get":      get,
	"tcp":      tcp,
	"udp":      udp,
	"icmp":     ping,
	"resolve":  resolve,
	"forward":  forward,
	"htpasswd": htpasswd,
}

func main() {
	if len(os.Args) < 2 {
		os.Exit(pause())
	}
	run, ok := commands[os.Args[1]]
	if !ok {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	os.Exit(run(os.Args[2:]))
}

// result is what a measuring command prints. Times are milliseconds since its start; -1 where there was none.
type result struct {
	Tries   int     `json:"tries"`
	OK      int     `json:"ok"`
	FirstMS float64 `json:"firstMs"`
	LastMS  float64 `json:"lastMs"`
	Error   string  `json:"error,omitempty"`
}

func newResult() *result { return &result{FirstMS: -1, LastMS: -1} }

func (r *result) answered(start time.Time) {
	at := float64(time.Since(start).Microseconds()) / 1000
	r.OK++
	r.LastMS = at
	if r.FirstMS < 0 {
		r.FirstMS = at
	}
}

// finish prints the result; with stay it then waits for a signal, so that a pod's restart policy does not repeat it.
func (r *result) finish(stay bool) int {
	line, _ := json.Marshal(r)
	fmt.Println(string(line))
	if stay {
		return pause()
	}
	if r.OK == 0 {
		return 1
	}
	return 0
}

// pacing holds the flags that the measuring commands share.
type pacing struct {
	set      *flag.FlagSet
	total    time.Duration
	interval time.Duration
	timeout  time.Duration
	stay     bool
}

func newPacing(name string, interval time.Duration) *pacing {
	p := &pacing{set: flag.NewFlagSet(name, flag.ExitOnError)}
	p.set.DurationVar(&p.total, "for", 0, "how long to go on; 0 is one try")
	p.set.DurationVar(&p.interval, "interval", interval, "pause between tries")
	p.set.DurationVar(&p.timeout, "timeout", time.Second, "how long to wait for one answer")
	p.set.BoolVar(&p.stay, "stay", false, "wait for a signal after printing the result")
	return p
}

func (p *pacing) target(arguments []string) string {
	_ = p.set.Parse(arguments)
	if p.set.NArg() != 1 {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	return p.set.Arg(0)
}

// repeat calls try until the time is over, at least once.
func (p *pacing) repeat(try func()) {
	for start := time.Now(); ; time.Sleep(p.interval) {
		try()
		if time.Since(start) >= p.total {
			return
		}
	}
}

// pause is also pid 1 of a pod that shares its process namespace: it reaps orphans.
func pause() int {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for received := range signals {
		if received != syscall.SIGCHLD {
			return 0
		}
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
	return 0
}

func sleep(arguments []string) int {
	if len(arguments) != 1 {
		fmt.Fprint(os.Stderr, usage)
		return 2
	}
	length, err := time.ParseDuration(arguments[0])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	select {
	case <-signals:
	case <-time.After(length):
	}
	return 0
}

func must(condition bool) {
	if !condition {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
}
