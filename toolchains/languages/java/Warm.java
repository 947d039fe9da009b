package cellblock;

import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedList;
import java.util.List;
import java.util.Map;
import java.util.PriorityQueue;
import java.util.Scanner;
import java.util.StringTokenizer;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/** A bit of all that contest programs use: loaded before go, and from an archive that ./bootstrap makes by running it. */
final class Warm {
    public static void main(String[] arguments) throws IOException {
        up(System.out, "3 4\nfive\n");
    }

    static final class Nowhere extends OutputStream {
        @Override
        public void write(int value) {}
    }

    static void up(OutputStream out, String input) throws IOException {
        PrintStream print = new PrintStream(out, false, StandardCharsets.UTF_8);
        try (Scanner scanner = new Scanner(new ByteArrayInputStream(input.getBytes(StandardCharsets.UTF_8)))) {
            int sum = scanner.nextInt() + scanner.nextInt();
            print.println(scanner.next() + " " + sum);
        }
        BufferedReader reader =
                new BufferedReader(new InputStreamReader(new ByteArrayInputStream(input.getBytes(StandardCharsets.UTF_8))));
        StringTokenizer words = new StringTokenizer(reader.readLine());
        long total = Long.parseLong(words.nextToken()) + Integer.parseInt(words.nextToken());
        Map<Integer, List<String>> groups = new HashMap<>();
        for (int number = 0; number < 20; number++)
            groups.computeIfAbsent(number % 3, key -> new ArrayList<>()).add("x" + number);
        TreeMap<String, Integer> sorted = new TreeMap<>(Comparator.reverseOrder());
        sorted.merge("a", 1, Integer::sum);
        PriorityQueue<int[]> queue = new PriorityQueue<>((one, other) -> Integer.compare(one[0], other[0]));
        queue.add(new int[] {1});
        ArrayDeque<Integer> deque = new ArrayDeque<>(new LinkedList<>(new HashSet<>(List.of(1, 2))));
        Integer[] boxed = {3, 1, 2};
        Arrays.sort(boxed, Collections.reverseOrder());
        print.printf("%d %.3f %s%n", total, 0.5, deque.size() + queue.size());
        print.println(IntStream.range(0, 5).boxed().map(String::valueOf).collect(Collectors.joining(" ")));
        print.println(groups.values().stream().mapToInt(List::size).sum() + sorted.firstKey());
        PrintWriter writer = new PrintWriter(print);
        writer.println(new StringBuilder("done").append(boxed[0]).reverse());
        writer.flush();
    }
}
