// Reads x.hex and expected.hex from the folder it is started in; vectors.vh tells how many.
`timescale 1ns / 1ns
module e4m3_encoder_tb;
    `include "vectors.vh"

    reg  [X_BITS-1:0]        x        [0:ROWS-1];
    reg  [EXPECTED_BITS-1:0] expected [0:ROWS-1];
    reg  [X_BITS-1:0]        input_word;
    wire [7:0]               code;
    integer                  i, wrong;

    e4m3_encoder dut (.x(input_word), .code(code));

    initial begin
        $readmemh("x.hex", x);
        $readmemh("expected.hex", expected);
        wrong = 0;
        for (i = 0; i < ROWS; i = i + 1) begin
            input_word = x[i];
            #1;
            if (code !== expected[i]) begin
                wrong = wrong + 1;
                if (wrong <= 10)
                    $display("row %0d: x %h gives %h, not %h", i, x[i], code, expected[i]);
            end
        end
        if (wrong == 0) $display("PASS: %0d vectors", ROWS);
        else            $display("FAIL: %0d of %0d vectors", wrong, ROWS);
        $finish;
    end
endmodule
