// A block a clock, the noise from an LFSR that starts at the vectors' seed.  Reads x.hex, noise.hex, codes.hex
// and scale.hex from the folder it is started in.
`timescale 1ns / 1ns
module bfp_converter_tb;
    `include "vectors.vh"

    localparam N = X_PER_ROW;

    reg  [X_BITS-1:0]       x              [0:ROWS*N-1];
    reg  [NOISE_BITS-1:0]   expected_noise [0:ROWS*N-1];
    reg  [CODES_BITS-1:0]   expected_codes [0:ROWS*N-1];
    reg  [SCALE_BITS-1:0]   expected_scale [0:ROWS-1];
    reg  [N*X_BITS-1:0]     block;
    wire [N*NOISE_BITS-1:0] noise;
    wire [N*CODES_BITS-1:0] codes;
    wire [SCALE_BITS-1:0]   scale;
    reg                     clock, reset, bad;
    integer                 i, j, wrong;

    lfsr #(
        .WIDTH(LFSR_WIDTH), .SEED(LFSR_SEED), .TAPS(LFSR_TAPS), .STEPS(LFSR_STEPS),
        .BITS(NOISE_BITS), .COUNT(N)
    ) source (.clock(clock), .reset(reset), .next(1'b1), .noise(noise));

    bfp_converter #(.M(CODES_BITS - 1), .COUNT(N), .BITS(NOISE_BITS)) dut (
        .x(block), .noise(noise), .codes(codes), .scale(scale)
    );

    always #5 clock = ~clock;

    initial begin
        $readmemh("x.hex", x);
        $readmemh("noise.hex", expected_noise);
        $readmemh("codes.hex", expected_codes);
        $readmemh("scale.hex", expected_scale);
        clock = 0;
        reset = 1;
        wrong = 0;
        @(negedge clock);
        reset = 0;
        for (i = 0; i < ROWS; i = i + 1) begin
            for (j = 0; j < N; j = j + 1) block[j*X_BITS +: X_BITS] = x[i*N+j];
            #1;
            bad = scale !== expected_scale[i];
            for (j = 0; j < N; j = j + 1)
                if (noise[j*NOISE_BITS +: NOISE_BITS] !== expected_noise[i*N+j]
                    || codes[j*CODES_BITS +: CODES_BITS] !== expected_codes[i*N+j]) bad = 1;
            if (bad) begin
                wrong = wrong + 1;
                if (wrong <= 10)
                    $display("block %0d: codes %h scale %h, not scale %h", i, codes, scale,
                             expected_scale[i]);
            end
            @(negedge clock);
        end
        if (wrong == 0) $display("PASS: %0d vectors", ROWS);
        else            $display("FAIL: %0d of %0d vectors", wrong, ROWS);
        $finish;
    end
endmodule
