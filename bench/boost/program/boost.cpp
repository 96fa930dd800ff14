/*
 * boost.cpp - what Boost.Interprocess makes of the same work.  It speaks the protocol of package side:
 * boost KIND PIN TARGET_NS [A B C]; then a round for each line on standard input.
 */
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/interprocess/ipc/message_queue.hpp>
#include <boost/interprocess/managed_shared_memory.hpp>
#include <boost/interprocess/mapped_region.hpp>
#include <boost/interprocess/shared_memory_object.hpp>
#include <boost/interprocess/sync/interprocess_mutex.hpp>
#include <boost/interprocess/sync/interprocess_sharable_mutex.hpp>

namespace bip = boost::interprocess;

static double now_ns()
{
	return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// xorshift64: the Go and C sides draw the same numbers
static uint64_t state = 88172645463325252ull;

static uint64_t draw()
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static size_t below(size_t n) { return ((draw() >> 32) * n) >> 32; }

// 16 to 8191 bytes, each power of two as likely as another
static size_t mixed_size()
{
	uint64_t r = draw();
	int e = 4 + int((r >> 40) % 9);
	return (size_t(1) << e) + (r & ((size_t(1) << e) - 1));
}

static void pin_to(int cpu)
{
	cpu_set_t set;
	if (cpu < 0)
		return;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof set, &set) != 0)
		throw std::runtime_error("pinning failed");
}

// A work: one of the two is set.
struct work
{
	std::function<void(long)> loop;                                   // does it n times
	std::function<void(std::vector<double> &)> each;                  // stores the ns of each
};

static std::string name; // of our objects

struct remover
{
	std::string n;
	explicit remover(const std::string &n) : n(n) { bip::shared_memory_object::remove(n.c_str()); }
	~remover() { bip::shared_memory_object::remove(n.c_str()); }
};

static work create(size_t size)
{
	return {[=](long n) {
		for (long i = 0; i < n; i++)
		{
			remover r(name);
			bip::shared_memory_object o(bip::create_only, name.c_str(), bip::read_write);
			o.truncate(size);
			bip::mapped_region m(o, bip::read_write);
		}
	}, nullptr};
}

static work attach(size_t size)
{
	auto r = std::make_shared<remover>(name);
	bip::shared_memory_object o(bip::create_only, name.c_str(), bip::read_write);
	o.truncate(size);
	return {[r](long n) {
		for (long i = 0; i < n; i++)
		{
			bip::shared_memory_object o(bip::open_only, name.c_str(), bip::read_write);
			bip::mapped_region m(o, bip::read_write);
		}
	}, nullptr};
}

struct heap
{
	remover r;
	bip::managed_shared_memory m;
	std::vector<void *> p;
	heap() : r(name), m(bip::create_only, name.c_str(), 128 << 20), p(10000) {}
};

static work alloc(const std::string &how, size_t size)
{
	auto h = std::make_shared<heap>();
	if (how == "pair")
		return {[=](long n) {
			for (long i = 0; i < n; i++)
				h->m.deallocate(h->m.allocate(size));
		}, nullptr};
	if (how == "batch") // n counts objects
		return {[=](long n) {
			for (long i = 0; i < n; i += 1000)
			{
				long k = std::min(1000L, n - i);
				for (long j = 0; j < k; j++)
					h->p[j] = h->m.allocate(size);
				for (long j = 0; j < k; j++)
					h->m.deallocate(h->p[j]);
			}
		}, nullptr};
	for (auto &p : h->p)
		p = h->m.allocate(mixed_size());
	auto mixed = [=](long n) {
		for (long i = 0; i < n; i++)
		{
			size_t k = below(h->p.size());
			h->m.deallocate(h->p[k]);
			h->p[k] = h->m.allocate(mixed_size());
		}
	};
	mixed(50000); // a steady state
	return {mixed, nullptr};
}

template <class Mutex> struct shared_mutex
{
	remover r;
	bip::managed_shared_memory m;
	Mutex *mu;
	shared_mutex() : r(name), m(bip::create_only, name.c_str(), 65536), mu(m.construct<Mutex>("mutex")()) {}
};

static work lock_exclusive()
{
	auto s = std::make_shared<shared_mutex<bip::interprocess_mutex>>();
	return {[=](long n) {
		for (long i = 0; i < n; i++)
		{
			s->mu->lock();
			s->mu->unlock();
		}
	}, nullptr};
}

static work lock_shared()
{
	auto s = std::make_shared<shared_mutex<bip::interprocess_sharable_mutex>>();
	return {[=](long n) {
		for (long i = 0; i < n; i++)
		{
			s->mu->lock_sharable();
			s->mu->unlock_sharable();
		}
	}, nullptr};
}

// Two queues and a second process, which sends everything back or, in one way, says when it has received as many as it was told.
struct talk
{
	remover r1, r2;
	bip::message_queue out, back;
	pid_t pid;
	std::vector<char> buffer;

	talk(size_t size, size_t ring, int cpu, bool echo)
		: r1(name + "-1"), r2(name + "-2"),
		  out(bip::create_only, r1.n.c_str(), std::max(size_t(2), ring / size), size),
		  back(bip::create_only, r2.n.c_str(), std::max(size_t(2), ring / size), size), buffer(size)
	{
		pid_t parent = getpid();
		pid = fork();
		if (pid < 0)
			throw std::runtime_error("fork failed");
		if (pid > 0)
			return;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		pin_to(cpu);
		for (;;)
		{
			size_t len = take(out);
			if (!echo)
			{
				long n;
				memcpy(&n, buffer.data(), sizeof n); // the first message says how many follow
				for (long i = 0; i < n; i++)
					len = take(out);
			}
			back.send(buffer.data(), len, 0);
		}
	}
	~talk()
	{
		kill(pid, SIGKILL);
		waitpid(pid, nullptr, 0);
	}
	size_t take(bip::message_queue &q)
	{
		bip::message_queue::size_type len;
		unsigned priority;
		q.receive(buffer.data(), buffer.size(), len, priority);
		return len;
	}
};

static work one_way(size_t size, size_t ring, int cpu)
{
	auto t = std::make_shared<talk>(size, ring, cpu, false);
	return {[=](long n) {
		t->out.send(&n, sizeof n, 0);
		for (long i = 0; i < n; i++)
			t->out.send(t->buffer.data(), size, 0);
		t->take(t->back);
	}, nullptr};
}

static work round_trip(size_t size, size_t ring, int cpu)
{
	auto t = std::make_shared<talk>(size, ring, cpu, true);
	return {nullptr, [=](std::vector<double> &ns) {
		double last = now_ns();
		for (auto &x : ns)
		{
			t->out.send(t->buffer.data(), size, 0);
			t->take(t->back);
			double now = now_ns();
			x = now - last;
			last = now;
		}
	}};
}

static work open(const std::string &kind, long a, long b, const std::string &pin)
{
	int partner = pin == "same" ? 0 : pin == "diff" ? 1 : -1;
	if (kind == "create")
		return create(a);
	if (kind == "attach")
		return attach(a);
	if (kind.rfind("alloc ", 0) == 0)
		return alloc(kind.substr(6), a);
	if (kind == "lock exclusive")
		return lock_exclusive();
	if (kind == "lock shared")
		return lock_shared();
	if (kind == "mq one way")
		return one_way(a, b, partner);
	if (kind == "mq round trip")
		return round_trip(a, b, partner);
	throw std::runtime_error("no work is called " + kind);
}

static double run(const work &w, long n, std::vector<double> &ns)
{
	double begin = now_ns();
	if (w.loop)
		w.loop(n);
	else
	{
		ns.resize(n);
		begin = now_ns();
		w.each(ns);
	}
	return now_ns() - begin;
}

static double quantile(const std::vector<double> &x, double q)
{
	double at = q * (x.size() - 1);
	size_t low = size_t(at);
	return low + 1 == x.size() ? x[low] : x[low] + (at - low) * (x[low + 1] - x[low]);
}

static void measure(int argc, char **argv)
{
	if (argc < 4)
		throw std::runtime_error("boost KIND PIN TARGET_NS [A B C]");
	std::string pin = argv[2];
	double target = atof(argv[3]);
	work w = open(argv[1], argc > 4 ? atol(argv[4]) : 0, argc > 5 ? atol(argv[5]) : 0, pin);
	if (pin == "same" || pin == "diff")
		pin_to(0);
	std::cout << "ready" << std::endl;
	long n = 0;
	std::vector<double> ns;
	for (std::string line; std::getline(std::cin, line);)
	{
		// One round: a try that is over too soon does not count, and is made again with more. As the Go side does it (pace in work.go).
		long least = w.each ? 100 : 1, done;
		bool warm = n > 0;
		double took;
		for (n = std::max(n, least);; warm = true)
		{
			took = run(w, done = n, ns);
			if (!warm)
				continue;
			if (took < target / 2 || took > target * 2)
				n = std::max(least, long(std::ceil(n * std::min(8.0, target / (took + 1)))));
			if (took >= target / 2)
				break;
		}
		if (w.loop)
		{
			std::cout << took / done << std::endl;
			continue;
		}
		std::sort(ns.begin(), ns.end());
		std::cout << quantile(ns, 0.5) << ' ' << quantile(ns, 0.99) << std::endl;
	}
}

int main(int argc, char **argv)
{
	const char *bench = getenv("GODSM_BENCH");
	name = std::string("godsm-bench-") + (bench ? bench : "0") + "-boost-" + std::to_string(getpid());
	try
	{
		measure(argc, argv);
	}
	catch (const std::exception &e)
	{
		std::cout << "error " << e.what() << std::endl;
		return 1;
	}
}
