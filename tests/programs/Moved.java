// A Java program that works in a directory and verifies itself: a map, locks, appended records,
// files made and renamed, a watched directory. Prints a number per round; ends with its input.

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;

public class Moved {
    static final int THREADS = 4;
    static final AtomicLong[] done = new AtomicLong[THREADS];
    static volatile boolean going = true;
    static volatile Throwable problem;

    static void check(boolean holds, String what) {
        if (!holds) throw new IllegalStateException(what);
    }

    static void work(Path folder, int number) throws IOException {
        try (FileChannel log = FileChannel.open(folder.resolve("log-" + number),
                StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE);
             FileChannel mapped = FileChannel.open(folder.resolve("map-" + number),
                StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
            MappedByteBuffer map = mapped.map(FileChannel.MapMode.READ_WRITE, 0, 1 << 16);
            FileLock lock = log.lock();
            for (long round = 0; going; round++) {
                ByteBuffer record = ByteBuffer.allocate(8).putLong(0, round);
                check(log.write(record, round * 8) == 8, "a short write");
                map.putLong((int) (round % (1 << 13)) * 8, round);
                ByteBuffer shown = ByteBuffer.allocate(8);
                check(log.read(shown, round * 8) == 8 && shown.getLong(0) == round, "the log");
                check(map.getLong((int) (round % (1 << 13)) * 8) == round, "the map");
                if (round % 50 == 0) {
                    map.force();
                    log.force(false);
                    Path made = Files.write(folder.resolve("new-" + number), shown.array());
                    Files.move(made, folder.resolve("last-" + number),
                            StandardCopyOption.ATOMIC_MOVE);
                }
                done[number].set(round + 1);
                LockSupport.parkNanos(2_000_000);
            }
            check(lock.isValid(), "the lock");
            long rounds = done[number].get();
            check(log.size() == rounds * 8, "records are lost");
            for (long round = 0; round < rounds; round++) {
                ByteBuffer shown = ByteBuffer.allocate(8);
                log.read(shown, round * 8);
                check(shown.getLong(0) == round, "record " + round);
            }
        }
    }

    static long all() {
        long sum = 0;
        for (AtomicLong one : done) sum += one.get();
        return sum;
    }

    public static void main(String[] arguments) throws Exception {
        Path folder = Path.of(arguments[0]);
        Thread[] threads = new Thread[THREADS];
        for (int number = 0; number < THREADS; number++) {
            int mine = number;
            done[number] = new AtomicLong();
            threads[number] = new Thread(() -> {
                try {
                    work(folder, mine);
                } catch (Throwable error) {
                    problem = error;
                    going = false;
                }
            });
            threads[number].start();
        }
        Thread end = new Thread(() -> {
            try {
                while (System.in.read() >= 0) { }
            } catch (IOException error) {
                problem = error;
            }
            going = false;
        });
        end.start();
        byte[][] kept = new byte[64][];
        for (int round = 1; going; round++) {
            long before = all();
            kept[round % 64] = new byte[1 << 16]; // the collector has something to do
            while (going && all() < before + 4 * THREADS) Thread.sleep(1);
            Path temporary = Files.createTempFile("moved", null);
            Files.delete(temporary);
            if (going) System.out.println(round);
        }
        for (Thread thread : threads) thread.join();
        if (problem != null) {
            problem.printStackTrace();
            System.exit(1);
        }
        System.out.println("verified");
    }
}
