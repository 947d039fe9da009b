package cellblock;

import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.IOException;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.jar.Attributes;
import java.util.jar.JarFile;
import jdk.internal.access.SharedSecrets;

/**
 * Makes a started virtual machine wait for go, then runs the program that Build left, as `java` would have.
 *
 * The first argument is the descriptor where it waits ("-": it does not), the second the program's jar, which is on the
 * class path and may not be there before go.
 */
public final class Start {
    private static final int MESSAGE_BYTES = 64 << 10;
    private static final String INPUT_LIBRARY = "/cellblock/input.so";

    public static void main(String[] own) throws Throwable {
        String[] arguments = own[0].equals("-")
                ? Arrays.copyOfRange(own, 2, own.length)
                : waitForGo(Integer.parseInt(own[0]));
        try {
            mainOf(own[1]).invokeExact(arguments);
        } catch (Throwable thrown) {
            forgetUs(thrown, 0);
            throw thrown;
        }
    }

    private static MethodHandle mainOf(String jar) throws Throwable {
        String name;
        try (JarFile file = new JarFile(jar, false)) {
            name = file.getManifest().getMainAttributes().getValue(Attributes.Name.MAIN_CLASS);
        }
        Class<?> program = Class.forName(name, true, ClassLoader.getSystemClassLoader());
        MethodHandles.Lookup lookup = MethodHandles.privateLookupIn(program, MethodHandles.lookup());
        return lookup.findStatic(program, "main", MethodType.methodType(void.class, String[].class));
    }

    /** The program's arguments, which come as "go" and then each of them, with a NUL at its end. */
    private static String[] waitForGo(int gate) throws IOException {
        warmUp();
        FileDescriptor descriptor = new FileDescriptor();
        SharedSecrets.getJavaIOFileDescriptorAccess().set(descriptor, gate);
        byte[] message = new byte[MESSAGE_BYTES];
        int length;
        System.load(INPUT_LIBRARY); // returns at go, with the input at descriptor 0
        try (FileInputStream in = new FileInputStream(descriptor)) {
            length = in.read(message);
        }
        if (length <= 0) Runtime.getRuntime().halt(0); // nobody wants this jail
        String[] words = new String(message, 0, length, StandardCharsets.UTF_8).split("\0", -1);
        return Arrays.copyOfRange(words, 1, words.length - 1);
    }

    /** Load what a program's first words need. */
    private static void warmUp() throws IOException {
        Warm.up(new Warm.Nowhere(), "3 4\nfive\n");
    }

    /** Our own frames are not the program's: a stack trace ends with its main, as under `java`. */
    private static void forgetUs(Throwable thrown, int depth) {
        if (thrown == null || depth > 100) return;
        StackTraceElement[] frames = thrown.getStackTrace();
        int last = frames.length;
        while (last > 0 && frames[last - 1].getClassName().equals(Start.class.getName())) last--;
        if (last < frames.length) thrown.setStackTrace(Arrays.copyOf(frames, last));
        forgetUs(thrown.getCause(), depth + 1);
        for (Throwable suppressed : thrown.getSuppressed()) forgetUs(suppressed, depth + 1);
    }
}
